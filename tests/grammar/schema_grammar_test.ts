import { assert, assertEquals, assertThrows } from "@std/assert";
import { schemaGrammar } from "../../src/grammar/schema_grammar.ts";
import { SchemaError } from "../../src/grammar/schema_reader.ts";

function refusal(schema: unknown): string {
  return assertThrows(() => schemaGrammar(schema), SchemaError).message;
}

Deno.test("schemaGrammar() refuses each keyword that it would not hold to, by name and place", () => {
  const keywords = [
    ...["not", "if", "then", "contains", "multipleOf", "dependentRequired", "dependentSchemas"],
    ...["patternProperties", "propertyNames", "minContains", "$dynamicRef", "additionalItems"],
    "invented",
  ];
  for (const keyword of keywords) {
    const inside = { type: "object", properties: { "a/b": { [keyword]: {} } } };
    assertEquals(refusal(inside), `${keyword} at #/properties/a~1b`);
  }
  assertEquals(refusal({ items: { type: "array", uniqueItems: true } }), "uniqueItems at #/items");
});

Deno.test("schemaGrammar() refuses keywords beside those that would hide them", () => {
  const refused: [unknown, string][] = [
    [{ anyOf: [{ type: "string" }], minLength: 2 }, "minLength beside anyOf at #"],
    [{ $ref: "#/$defs/a", type: "string", $defs: { a: {} } }, "type beside $ref at #"],
    [{ enum: [1, 2], minimum: 2 }, "minimum beside enum at #"],
    [{ allOf: [{ type: "string" }, { minLength: 1 }] }, "allOf of several schemas at #"],
    [{ type: "string", pattern: "a", maxLength: 3 }, "maxLength beside pattern at #"],
    [
      { oneOf: [{ type: "integer" }, { type: "number" }] },
      "oneOf at #, whose schemas may be valid",
    ],
    [{ type: ["string", "thing"] }, 'type "thing" at #'],
    [{ $ref: "other.json" }, "$ref at #, which does not begin with #/"],
    [{ $ref: "#/$defs/none" }, "$ref at #: there is no #/$defs/none"],
    [{ $ref: "#" }, "$ref at #, to itself"],
    [{ anyOf: [{ $ref: "#" }, { type: "null" }] }, "$ref at #/anyOf/0, to itself"],
    [{ properties: { a: { $id: "b" } } }, "$id at #/properties/a"],
    [{ type: "object", minProperties: 2 }, "minProperties at #"],
    [{ properties: { a: {}, b: {} }, maxProperties: 1 }, "maxProperties at #"],
    [false, "no valid value at #"],
    [{ required: ["a"], properties: { a: false } }, "no valid value at #/properties/a"],
    [{ type: "string", enum: [1] }, "no valid value at #"],
    [{ type: "integer", minimum: 3, maximum: 2 }, "minimum at #, which no number fits"],
    [{ type: "number", minimum: 1e-9 }, "minimum at #: the bound 1e-9 needs an exponent"],
    [{ type: "array", items: false, minItems: 1 }, "minItems at #"],
    [{ type: "string", pattern: "(?=a)" }, "pattern at #: it has a group"],
  ];
  for (const [schema, words] of refused) assert(refusal(schema).startsWith(words), refusal(schema));
});

Deno.test("schemaGrammar() takes alternatives that exclude each other, and what says nothing", () => {
  const kind = (name: string) => ({
    type: "object",
    properties: { kind: { const: name }, n: { type: "integer" } },
    required: ["kind"],
  });
  const taken = [
    { oneOf: [{ type: "string" }, { type: "null" }] },
    { oneOf: [kind("a"), kind("b")] },
    { oneOf: [{ $ref: "#/$defs/a" }, kind("b")], $defs: { a: kind("a") } },
    { oneOf: [{ const: 1 }, { enum: [2, 3] }] },
    { title: "t", description: "d", default: 1, examples: [1], $comment: "c" },
    { allOf: [{ $ref: "#/definitions/a" }], definitions: { a: { type: "null" } } },
    { type: "array", uniqueItems: false },
    { type: "string", format: "unheard-of" },
    true,
  ];
  for (const schema of taken) schemaGrammar(schema);
});

Deno.test("a schema that refers to itself has as many rules as places, and each only once", () => {
  const tree = {
    type: "object",
    properties: { left: { $ref: "#" }, right: { $ref: "#" }, n: { type: "integer" } },
    required: ["n"],
  };
  const { rules } = schemaGrammar({
    $ref: "#/$defs/tree",
    $defs: {
      tree: {
        ...tree,
        properties: {
          ...tree.properties,
          left: { $ref: "#/$defs/tree" },
          right: { $ref: "#/$defs/tree" },
        },
      },
    },
  });
  assert(rules.size < 40, `${rules.size} rules`);
  assert(schemaGrammar(tree).rules.size < 40);
});
