import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";

/** A schema of the tests, with the name it is reported by. */
export interface NamedSchema {
  readonly name: string;
  readonly schema: unknown;
}

/** The official suite, of draft 2020-12; see its README for where it comes from. */
const SUITE = new URL("../../../shared/data/json-schema-test-suite-2020-12/", import.meta.url);

/** The schemas of the official suite, or none, with the reason printed, where it is absent. */
export function suiteSchemas(): NamedSchema[] {
  try {
    const files = [...Deno.readDirSync(SUITE)].filter(({ name }) => name.endsWith(".json"));
    return files.map(({ name }) => name).sort().flatMap((name) => {
      const groups = JSON.parse(Deno.readTextFileSync(new URL(name, SUITE)));
      return (groups as { description: string; schema: unknown }[])
        .map(({ description, schema }) => ({ name: `${name}: ${description}`, schema }));
    });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    // deno-lint-ignore no-console -- a skip must say why
    console.warn("skipped: ../shared/data/json-schema-test-suite-2020-12 is absent");
    return [];
  }
}

const bounds = fc.integer({ min: -50, max: 50 }).chain((low) =>
  fc.integer({ min: low + 1, max: low + 60 }).map((high) => [low, high] as const)
);
const leaves: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom({ type: "string" }, { type: "boolean" }, { type: "null" }, { type: "integer" }),
  fc.constantFrom({ type: "number" }, { type: ["string", "null"] }, { const: "fixed" }),
  fc.record({
    type: fc.constant("string"),
    minLength: fc.nat(3),
    maxLength: fc.integer({ min: 3, max: 12 }),
  }),
  fc.constantFrom("^[a-z]{2,5}$", "[A-Z][0-9]+", "^(red|green|blue)$", "\\\\d{3}-\\\\d{2}")
    .map((pattern) => ({ type: "string", pattern: pattern.replaceAll("\\\\", "\\") })),
  fc.constantFrom("date", "time", "date-time", "uuid", "ipv4", "email")
    .map((format) => ({ type: "string", format })),
  bounds.map(([minimum, maximum]) => ({ type: "integer", minimum, maximum })),
  bounds.map(([low, high]) => ({ type: "number", exclusiveMinimum: low / 4, maximum: high / 4 })),
  fc.uniqueArray(fc.constantFrom("a", "b c", 1, 2.5, true, null, "é"), {
    minLength: 1,
    maxLength: 4,
  })
    .map((values) => ({ enum: values })),
);

/** Schemas as applications send them, nested up to three levels. */
export const schemas: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  schema: fc.oneof(
    { maxDepth: 3, depthIdentifier: "schema" },
    leaves,
    fc.tuple(
      fc.dictionary(fc.constantFrom("name", "age", "tags", "id", "x y"), tie("schema"), {
        minKeys: 1,
      }),
      fc.array(fc.constantFrom("name", "age", "tags", "id"), { maxLength: 3 }),
      fc.boolean(),
    ).map(([properties, required, isClosed]) => ({
      type: "object",
      properties,
      required: [...new Set(required)].filter((name) => Object.hasOwn(properties, name)),
      ...(isClosed ? { additionalProperties: false } : {}),
    })),
    fc.tuple(tie("schema"), fc.nat(2), fc.integer({ min: 2, max: 4 })).map(
      ([items, minItems, maxItems]) => ({ type: "array", items, minItems, maxItems }),
    ),
    fc.array(tie("schema"), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
  ),
})).schema;

/** As many different ones, always the same. */
export function generatedSchemas(count: number): NamedSchema[] {
  const all = fc.sample(schemas, { numRuns: 2 * count, seed: 41 }).map((one) =>
    JSON.stringify(one)
  );
  return [...new Set(all)].slice(0, count)
    .map((text, i) => ({ name: `generated ${i}`, schema: JSON.parse(text) }));
}

function makeAjv(): Ajv2020 {
  return new Ajv2020({ strict: false, logger: false, ownProperties: true });
}

/** For schemas without names of their own, which it would remember. */
const SHARED_AJV = makeAjv();

/** Whether a value is valid by a schema, by ajv; undefined where ajv does not take the schema. */
export function validatorOf(schema: unknown): ((value: unknown) => boolean) | undefined {
  const ajv = JSON.stringify(schema).includes('"$id"') ? makeAjv() : SHARED_AJV;
  try {
    return ajv.compile(schema as object) as (value: unknown) => boolean;
  } catch {
    return undefined;
  }
}
