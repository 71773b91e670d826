import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  generatedSchemas,
  type NamedSchema,
  suiteSchemas,
  validatorOf,
} from "../support/json_schemas.ts";
import { cases, times } from "../support/runs.ts";
import { ServerProcess, sharedServer } from "../support/server_process.ts";

/** Requests under way at once: each step is a batch of as many. */
const NUM_CLIENTS = 16;
const PROMPT = [{ role: "user", content: "Make a JSON object with name and age." }];

// deno-lint-ignore no-explicit-any -- answers are JSON of many shapes
type Answer = { readonly status: number; readonly body: any };
type Fields = Readonly<Record<string, unknown>>;

async function chat(server: ServerProcess, fields: Fields): Promise<Answer> {
  const response = await server.post("/v1/chat/completions", {
    messages: PROMPT,
    temperature: 1,
    max_tokens: 100,
    ...fields,
  });
  return { status: response.status, body: await response.json() };
}

function schemaFormat(schema: unknown): Fields {
  return { response_format: { type: "json_schema", json_schema: { name: "x", schema } } };
}

const LESS_LOG = ["--log-level", "warn"];
const shared = sharedServer(LESS_LOG);

/** Calls `work` for each item, for some at a time. */
async function inParallel<T>(items: readonly T[], work: (item: T, i: number) => Promise<void>) {
  const left = items.entries();
  await Promise.all(Array.from({ length: NUM_CLIENTS }, async () => {
    for (const [i, item] of left) await work(item, i);
  }));
}

/** What came of a set of schemas. */
interface Totals {
  numTaken: number;
  numComplete: number;
  numRefused: number;
}

/** Asks for values of each schema and validates what is complete; counts what came of it. */
async function checkSchemas(
  server: ServerProcess,
  schemas: readonly NamedSchema[],
): Promise<Totals> {
  const totals = { numTaken: 0, numComplete: 0, numRefused: 0 };
  await inParallel(schemas, async ({ name, schema }, i) => {
    const isValid = validatorOf(schema);
    if (isValid === undefined) return;
    const { status, body } = await chat(server, {
      ...schemaFormat(schema),
      ...{ seed: i, max_tokens: 32 },
    });
    if (status === 400) {
      const { code, message } = body.error;
      assertEquals(code, "unsupported_grammar", `${name}: ${message}`);
      assertStringIncludes(message, "cannot be enforced: the schema has ", name);
      totals.numRefused++;
      return;
    }
    assertEquals(status, 200, `${name}: ${JSON.stringify(body)}`);
    totals.numTaken++;
    for (const { finish_reason, message } of body.choices) {
      // What max_tokens has cut off is no value yet.
      if (finish_reason !== "stop") assertEquals(finish_reason, "length");
      else {
        assert(isValid(JSON.parse(message.content)), `${name}: ${message.content}`);
        totals.numComplete++;
      }
    }
  });
  return totals;
}

function e2e(name: string, run: () => Promise<void>): void {
  Deno.test({ name, sanitizeOps: false, sanitizeResources: false, fn: run });
}

e2e(
  "what is drawn at random, in batches, is valid by each schema, or the schema is refused by name",
  async () => {
    const server = await shared();
    // All of them are drawn from in tests/grammar; here the model draws, and batches are real.
    const suite = cases(suiteSchemas().filter((_, i) => i % 8 === 0), 10);
    const others = cases(generatedSchemas(20), 5);
    const given = await checkSchemas(server, suite);
    const generated = await checkSchemas(server, others);
    if (suite.length > 0) {
      assert(given.numTaken >= times(15) && given.numRefused >= times(15), JSON.stringify(given));
    }
    assertEquals([generated.numRefused, generated.numTaken], [0, others.length]);
    assert(generated.numComplete >= times(8), JSON.stringify(generated));
  },
);

e2e("a grammar goes with seeds, n, stop strings, streams and limits of tokens", async () => {
  const server = await shared();
  const schema = { type: "object", properties: { a: { type: "string", minLength: 3 } } };
  const fields = { ...schemaFormat({ ...schema, required: ["a"] }), seed: 5 };
  const once = (await chat(server, fields)).body.choices[0].message.content;
  const [again, other] = (await chat(server, { ...fields, n: 2 })).body.choices;
  assertEquals(again.message.content, once);
  if (other.finish_reason === "stop") JSON.parse(other.message.content);

  const cut = (await chat(server, { ...fields, max_tokens: 3 })).body.choices[0];
  assertEquals(cut.finish_reason, "length");
  assert(once.startsWith(cut.message.content));
  const stopped = (await chat(server, { ...fields, stop: '"a"' })).body.choices[0];
  assertEquals([stopped.finish_reason, stopped.stop_reason], ["stop", '"a"']);

  const response = await server.post("/v1/chat/completions", {
    ...fields,
    ...{ messages: PROMPT, temperature: 1, max_tokens: 100, stream: true },
  });
  const chunks = (await response.text()).split("\n\n").filter((one) => one.startsWith("data: {"));
  const text = chunks.map((one) => JSON.parse(one.slice(6)).choices[0].delta.content ?? "").join(
    "",
  );
  assertEquals(text, once);
});

e2e(
  "a grammar that takes too long is a 400 that names the limit, and others go on meanwhile",
  async () => {
    const server = await ServerProcess.start([...LESS_LOG, "--grammar-compile-timeout", "1"]);
    try {
      const slow = { structured_outputs: { regex: "(([a-z]{1,200}[0-9]{1,200}){1,200}x)*" } };
      const choice = { structured_outputs: { choice: ["yes", "no"] } };
      assertEquals((await chat(server, choice)).status, 200);
      const refusal = chat(server, slow);
      const others = [{}, choice, { structured_outputs: { choice: ["up", "down"] } }];
      await Promise.all(others.map(async (fields) => {
        const { status, body } = await chat(server, { ...fields, max_tokens: 4 });
        assertEquals(status, 200, JSON.stringify(body));
      }));
      const { status, body } = await refusal;
      assertEquals([status, body.error.code], [400, "grammar_too_large"]);
      assertStringIncludes(body.error.message, "takes more than 1 s");
      // It is not tried again.
      assertEquals((await chat(server, slow)).status, 400);
    } finally {
      await server.stop();
    }
  },
);

e2e("completions take grammars as well, for each of their prompts", async () => {
  const server = await shared();
  const response = await server.post("/v1/completions", {
    prompt: ["a", "b c"],
    n: 2,
    structured_outputs: { regex: "[0-9]{3}" },
    temperature: 1,
  });
  const { choices } = await response.json();
  assertEquals(choices.length, 4);
  for (const { text } of choices) assert(/^[0-9]{3}$/.test(text), text);
});
