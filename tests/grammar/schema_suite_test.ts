import { assert, assertEquals } from "@std/assert";
import { GrammarMatchers } from "../../src/grammar/grammar_matchers.ts";
import { GrammarCompiler } from "../../src/grammar/grammar_compiler.ts";
import { BYTES, LIMITS, randomOf, sampleText } from "../support/grammar_sampler.ts";
import {
  generatedSchemas,
  type NamedSchema,
  suiteSchemas,
  validatorOf,
} from "../support/json_schemas.ts";
import { cases, times } from "../support/runs.ts";

/** Texts drawn of each schema. */
const NUM_TEXTS = 2;

const compiler = new GrammarCompiler(BYTES);
// Room for the grammar of the text before, and few more.
const matchers = new GrammarMatchers({ maxIdleBytes: 2 ** 26 });

/**
 * Draws texts of each schema, each token uniformly among those that may come, and validates them;
 * a schema that is not taken has to be refused by a keyword.
 */
function checkSchemas(schemas: readonly NamedSchema[]) {
  const totals = { numTaken: 0, numTexts: 0, numRefused: 0 };
  const random = randomOf(71);
  for (const { name, schema } of schemas) {
    const isValid = validatorOf(schema);
    if (isValid === undefined) continue;
    const format = { type: "json_schema", json_schema: schema } as const;
    const outcome = compiler.compile({ key: name, format, limits: LIMITS });
    if (outcome.type !== "compiled") {
      assert(outcome.message.startsWith("the schema has "), `${name}: ${outcome.message}`);
      totals.numRefused++;
      continue;
    }
    totals.numTaken++;
    for (let i = 0; i < NUM_TEXTS; i++) {
      const text = sampleText(matchers, outcome.grammar, random, 150);
      if (text === undefined) continue;
      assert(isValid(JSON.parse(text)), `${name}: ${text}`);
      totals.numTexts++;
    }
  }
  return totals;
}

Deno.test("what is drawn of the official suite's schemas is valid, or they are refused by name", () => {
  const suite = cases(suiteSchemas(), 30);
  if (suite.length === 0) return;
  const { numTaken, numTexts, numRefused } = checkSchemas(suite);
  assert(numTaken >= times(160) && numRefused >= times(150), `${numTaken}, ${numRefused}`);
  assert(numTexts >= times(200), `${numTexts} texts`);
});

Deno.test("what is drawn of schemas as applications send them is valid, and none is refused", () => {
  const schemas = cases(generatedSchemas(140), 10);
  const { numTaken, numTexts, numRefused } = checkSchemas(schemas);
  assertEquals([numTaken, numRefused], [schemas.length, 0]);
  assert(numTexts >= times(150), `${numTexts} texts`);
});
