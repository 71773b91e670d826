import { assert, assertEquals } from "@std/assert";
import type { GrammarFormat } from "../../src/core/grammar_format.ts";
import { afterThinking } from "../../src/http/fields/thinking_fields.ts";
import { forcedCalls } from "../../src/tools/forced_calls.ts";
import { GrammarMatchers } from "../../src/grammar/grammar_matchers.ts";
import { GrammarCompiler } from "../../src/grammar/grammar_compiler.ts";
import {
  BYTES,
  compiled,
  LIMITS,
  matches,
  randomOf,
  sampleText,
  tokensOf,
} from "../support/grammar_sampler.ts";

const compiler = new GrammarCompiler(BYTES);
const matchers = new GrammarMatchers();

/** What the library takes minutes for, or for ever. */
const SLOW: GrammarFormat = { type: "regex", pattern: "(([a-z]{1,200}[0-9]{1,200}){1,200}x)*" };

function accepts(format: GrammarFormat, texts: readonly string[], others: readonly string[]): void {
  const grammar = compiled(compiler, format);
  for (const text of texts) assert(matches(matchers, grammar, text), `not ${JSON.stringify(text)}`);
  for (const text of others) assert(!matches(matchers, grammar, text), JSON.stringify(text));
}

function json(schema: unknown): GrammarFormat {
  return { type: "json_schema", json_schema: schema };
}

Deno.test("GrammarCompiler compiles every kind of format", () => {
  const a: GrammarFormat = { type: "const_string", value: 'a"\n' };
  accepts(a, ['a"\n'], ["a", ""]);
  accepts({ type: "or", elements: [a, { type: "const_string", value: "é" }] }, ["é"], ["e", "é "]);
  accepts({ type: "regex", pattern: "[a-c]{2}(x|y)?" }, ["ab", "cay"], ["a", "abxy", "ad"]);
  accepts({ type: "grammar", grammar: 'root ::= "(" root ")" | "z"' }, ["((z))"], ["((z)", ""]);
  const integer = json({ type: "integer", minimum: 2 });
  const tag = { type: "tag", begin: "<n>", content: integer, end: "</n>" } as const;
  accepts(tag, ["<n>2</n>"], ["<n>1</n>", "2"]);
  accepts({ type: "triggered_tags", triggers: ["<n"], tags: [tag] }, ["so <n>3</n> it"], ["<n>a"]);
  const separated = { type: "tags_with_separator", tags: [tag], separator: ", " } as const;
  accepts(separated, ["<n>2</n>, <n>30</n>"], ["<n>2</n><n>3</n>"]);
  const think = { type: "tag", begin: "", content: { type: "any_text" }, end: "</t>" } as const;
  accepts({ type: "sequence", elements: [think, integer] }, ["hm {1}</t>7"], ["hm 7", "</t>1"]);
});

Deno.test("a schema's strings, names and numbers are exactly what JSON allows", () => {
  const escapes = ['"a\\n\\u00e9\\\\\\""', '"é𝄞"', '""'];
  accepts(json({ type: "string" }), escapes, ['"\n"', '"\\x"', '"\\ud800"', '"a']);
  accepts(json({ type: "string", minLength: 2, maxLength: 3 }), ['"ab"', '"é𝄞c"'], [
    '"a"',
    '"abcd"',
  ]);
  accepts(json({ type: "string", maxLength: 100 }), ['"é𝄞"'], [`"${"a".repeat(101)}"`]);
  accepts(json({ properties: { 'q"\\ü': { const: null } } }), ['{"q\\"\\\\ü": null}', "{}"], ["{"]);
  accepts(json({ type: "number" }), ["-1.5e+3", "0"], ["01", "1.", "-", "1".repeat(16)]);
  accepts(json({ enum: ["a", 1, [true], { b: null }] }), ['"a"', "1", "[true]", '{"b":null}'], [
    "2",
  ]);
  accepts(json({ type: "string", format: "date" }), ['"2024-02-28"'], ['"2024-02-31"', '"x"']);
});

Deno.test("an object's properties come in their order, required or not, and an array in its bounds", () => {
  const properties = { a: { type: "integer" }, b: { type: "boolean" }, c: { type: "null" } };
  accepts(
    json({ properties, required: ["b", "d"], additionalProperties: { type: "string" } }),
    ['{"b": true,"d":"x"}', '{ "a":1,"b":false,"c":null,"d":""}'],
    ['{"d":"","b":true}', '{"b":true}', '{"a":1,"b":true,"d":1}', '{"b":true,"d":"","e":""}'],
  );
  const array = { type: "array", items: { type: "integer" }, minItems: 1, maxItems: 3 };
  accepts(json(array), ["[1]", "[1, 2,3]"], ["[]", "[1,2,3,4]", "[1,]"]);
  const tuple = { prefixItems: [{ type: "null" }, { type: "integer" }], items: { const: "x" } };
  accepts(json(tuple), ["[null,1]", '[null,1,"x","x"]'], ["[null]", "[1,null]", "[null,1,2]"]);
});

Deno.test("a format may begin behind thoughts, opened by the prompt or not, or by themselves", () => {
  const marks = { begin: "<t>", end: "</t>" };
  const one = json({ type: "integer" });
  accepts(afterThinking(one, marks, "inside"), ["1, 2 </t>\n\n3", "</t>3"], ["3", "a</t>x"]);
  accepts(afterThinking(one, marks, "before"), ["<t>hm</t>\n3", "3"], ["hm</t>3", "<t>3"]);
  const call = { name: "f", parameters: { properties: { n: { type: "integer" } } } };
  const calls = afterThinking(forcedCalls([call], true).format, marks, "inside");
  const text = '{"name": "f", "parameters": {"n": 1}}';
  accepts(calls, [`so</t>${text}`, `</t>${text}, ${text}`], [text, `</t>${text},`]);
});

Deno.test("white space between parts of JSON is bounded", () => {
  const object = json({ properties: { a: { type: "integer" } }, required: ["a"] });
  const line = (spaces: number) => `{${" ".repeat(spaces)}"a": 1\n}`;
  accepts(object, [line(0), line(16)], [line(17)]);
  accepts(json({}), [`{"a":${" ".repeat(16)}[]}`], [`{"a":${" ".repeat(17)}[]}`]);
});

Deno.test("what takes too long or too much memory is stopped, and the next one is not harmed", () => {
  const late = compiler.compile({
    key: "slow",
    format: SLOW,
    limits: { ...LIMITS, deadlineMs: 50 },
  });
  assertEquals(late, { type: "limit", message: "compiling it takes more than 0.05 s" });
  const tight = { ...LIMITS, maxBytes: 17 * 2 ** 20 };
  const large = { type: "array", minItems: 300, items: { type: "string", maxLength: 2000 } };
  const memory = compiler.compile({ key: "m", format: json(large), limits: tight });
  assert(memory.type === "limit" || memory.type === "compiled");
  const hungry = compiler.compile({ key: "h", format: SLOW, limits: tight });
  assertEquals(hungry, { type: "limit", message: "compiling it takes more than 17 MiB" });
  accepts({ type: "const_string", value: "ok" }, ["ok"], []);
});

Deno.test("what the library gives up on is refused in its words, and the next one is not harmed", () => {
  const refused: [GrammarFormat, string][] = [
    [{ type: "regex", pattern: "(a" }, "parenthesis is not closed"],
    [{ type: "grammar", grammar: "root ::=" }, "EBNF"],
    [{ type: "grammar", grammar: 'other ::= "a"' }, "root"],
    [{ type: "nonsense" } as unknown as GrammarFormat, "nonsense"],
    [json({ type: "array", uniqueItems: true }), "the schema has uniqueItems at #"],
    [{ type: "tag", begin: "a" } as unknown as GrammarFormat, "ontent"],
  ];
  for (const [format, words] of refused) {
    const outcome = compiler.compile({ key: "r", format, limits: LIMITS });
    assert(outcome.type === "refused" && outcome.message.includes(words), JSON.stringify(outcome));
  }
  accepts({ type: "const_string", value: "ok" }, ["ok"], []);
});

Deno.test("only text is allowed: no special token, and no id behind the vocabulary's last", () => {
  const special = BYTES.tokens.length;
  const vocabulary = { tokens: [...BYTES.tokens, new Uint8Array()], stopTokenIds: [256] };
  const own = new GrammarCompiler(vocabulary);
  const matcher = matchers.create(compiled(own, json({ type: "string" }), "special"));
  matcher.accept(0x22);
  const allowed = tokensOf(matcher.allowedTokens);
  assert(allowed.includes(0x61) && !allowed.includes(special) && !allowed.includes(256));
  assert(allowed.every((token) => token < vocabulary.tokens.length));
  matcher.close();
});

Deno.test("sampled texts of any JSON are JSON", () => {
  const grammar = compiled(compiler, json({}));
  const random = randomOf(3);
  let numTexts = 0;
  for (let i = 0; i < 60; i++) {
    const text = sampleText(matchers, grammar, random, 200);
    if (text === undefined) continue;
    JSON.parse(text);
    numTexts++;
  }
  assert(numTexts > 10, `${numTexts} texts`);
});
