import { assert, assertEquals, assertThrows } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import { type GrammarFields, outputConstraintOf } from "../../../src/http/fields/grammar_fields.ts";
import type { FakeGrammars } from "../fake_grammars.ts";
import { CHAT, testServer } from "../server.ts";

function of(fields: Record<string, unknown>): unknown {
  return outputConstraintOf(fields as GrammarFields)?.format;
}

function refusal(fields: Record<string, unknown>): [string | null, string] {
  const { data } = assertThrows(() => of(fields), RequestError);
  return [data.param, data.message];
}

Deno.test("formatOf() reads each way to ask for a format", () => {
  const schema = { type: "object", properties: {} };
  const json = { type: "json_schema", json_schema: schema };
  const object = { type: "json_schema", json_schema: { type: "object" } };
  assertEquals(of({}), undefined);
  assertEquals(of({ response_format: null, structured_outputs: null }), undefined);
  assertEquals(of({ response_format: { type: "text" } }), undefined);
  assertEquals(of({ response_format: { type: "json_object" } }), object);
  assertEquals(of({ response_format: { type: "json_object", schema } }), json);
  const named = (strict: boolean) => ({ name: "a", schema, strict });
  for (const strict of [true, false]) {
    assertEquals(
      of({ response_format: { type: "json_schema", json_schema: named(strict) } }),
      json,
    );
  }
  assertEquals(of({ structured_outputs: { json: schema, regex: null } }), json);
  assertEquals(of({ structured_outputs: { json: JSON.stringify(schema) } }), json);
  assertEquals(of({ structured_outputs: { json_object: true } }), object);
  assertEquals(of({ structured_outputs: { regex: "a+" } }), { type: "regex", pattern: "a+" });
  assertEquals(of({ structured_outputs: { grammar: "root ::= a" } }), {
    ...{ type: "grammar", grammar: "root ::= a" },
  });
  const [a, b] = [{ type: "const_string", value: "a" }, { type: "const_string", value: "b" }];
  assertEquals(of({ structured_outputs: { choice: ["a", "b", "a"] } }), {
    type: "or",
    elements: [a, b],
  });
  assertEquals(of({ structured_outputs: { choice: ["a"] } }), a);
});

Deno.test("formatOf() takes structural tags, also the older kind", () => {
  const legacy = { structures: [{ begin: "<a>", schema: {}, end: "</a>" }], triggers: ["<a"] };
  const content = { type: "json_schema", json_schema: {} };
  const tags = [{ type: "tag", begin: "<a>", content, end: "</a>" }];
  const expected = { type: "triggered_tags", triggers: ["<a"], tags };
  assertEquals(of({ response_format: { type: "structural_tag", ...legacy } }), expected);
  assertEquals(of({ structured_outputs: { structural_tag: JSON.stringify(legacy) } }), expected);
  const format = { type: "any_text" };
  assertEquals(of({ structured_outputs: { structural_tag: { format } } }), format);
  assertEquals(refusal({ response_format: { type: "structural_tag" } })[0], "response_format");
});

Deno.test("formatOf() refuses what is missing, too much or too large, by name", () => {
  assertEquals(refusal({ response_format: { type: "json_schema" } }), [
    "response_format.json_schema",
    "response_format.json_schema is required",
  ]);
  const both = { response_format: { type: "json_object" }, structured_outputs: { regex: "a" } };
  assertEquals(refusal(both)[0], "structured_outputs");
  assertEquals(
    refusal({ structured_outputs: { regex: "a", json: {} } })[1],
    "structured_outputs must have one of json, json_object, regex, choice, grammar, " +
      "structural_tag, got json and regex",
  );
  assert(refusal({ structured_outputs: {} })[1].endsWith("got none"));
  for (const name of ["json", "structural_tag"]) {
    const param = `structured_outputs.${name}`;
    const refused = [param, `${param} is a text that is not JSON`] as const;
    assertEquals(refusal({ structured_outputs: { [name]: "{" } }), [...refused]);
  }
  const long = { structured_outputs: { regex: "a".repeat(65_537) } };
  assertEquals(
    refusal(long)[1],
    "structured_outputs.regex must be JSON of at most 65536 characters",
  );
  let deep: unknown = {};
  for (let i = 0; i < 100; i++) deep = { items: deep };
  assertEquals(
    refusal({ structured_outputs: { json: deep } })[1],
    "structured_outputs.json must nest at most 64 levels deep",
  );
});

Deno.test("fields that would leave a grammar without a token are refused by name", () => {
  const asked = { response_format: { type: "json_object" } };
  const others: [string, unknown][] = [
    ...[["use_beam_search", true], ["ignore_eos", true], ["min_tokens", 2]] as [string, unknown][],
    ["allowed_token_ids", [1]],
  ];
  for (const [name, value] of others) {
    assertEquals(refusal({ ...asked, [name]: value }), [
      name,
      `${name} is not supported with response_format: leave it out`,
    ]);
  }
  of({
    ...asked,
    use_beam_search: false,
    ignore_eos: false,
    min_tokens: 0,
    allowed_token_ids: null,
  });
});

Deno.test("both endpoints hand the grammar to each sequence, and its refusals to the client", async () => {
  const server = testServer();
  const grammars = server.services.grammars as FakeGrammars;
  const structured_outputs = { choice: ["a"] };
  await server.post("/v1/chat/completions", { ...CHAT, n: 2, structured_outputs });
  const [one, two] = server.engine.sequences;
  assert(one!.grammar !== undefined && one!.grammar === two!.grammar);
  await server.post("/v1/completions", { prompt: ["x", "y"], structured_outputs });
  assertEquals(server.engine.sequences.map(({ grammar }) => grammar?.key), [
    ...[one!.grammar.key, one!.grammar.key],
  ]);
  assertEquals(grammars.formats.length, 2);
  await server.post("/v1/chat/completions", CHAT);
  assertEquals(server.engine.sequences[0]!.grammar, undefined);

  grammars.refusal = new RequestError("no", { code: "unsupported_grammar" });
  const response = await server.post("/v1/chat/completions", { ...CHAT, structured_outputs });
  assertEquals([response.status, (await response.json()).error.code], [400, "unsupported_grammar"]);
});
