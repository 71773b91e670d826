/** A schema that no grammar holds to; the message names the keyword and the place. */
export class SchemaError extends Error {
  override name = "SchemaError";
}

/** A schema that is an object. */
export type Keywords = Readonly<Record<string, unknown>>;

/** What a schema says: one of these, since keywords of several kinds are refused. */
export type ReadSchema =
  | { readonly type: "any" }
  | { readonly type: "values"; readonly values: readonly unknown[] }
  | { readonly type: "reference"; readonly reference: string }
  | { readonly type: "anyOf"; readonly keyword: string; readonly schemas: readonly unknown[] }
  | { readonly type: "types"; readonly types: readonly string[]; readonly keywords: Keywords };

/** Keywords that say nothing about which values are valid. */
const ANNOTATIONS = new Set([
  ...["title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"],
  ...["$schema", "$comment", "$defs", "definitions", "$id", "$anchor", "contentEncoding"],
  ...["contentMediaType", "contentSchema", "$vocabulary", "discriminator", "nullable"],
]);

/** Keywords that are about one type. */
const BY_TYPE: Readonly<Record<string, readonly string[]>> = {
  object: [
    ...["properties", "required", "additionalProperties", "unevaluatedProperties"],
    ...["minProperties", "maxProperties"],
  ],
  array: ["items", "prefixItems", "unevaluatedItems", "minItems", "maxItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
};

const KNOWN = new Set([...Object.values(BY_TYPE).flat(), ...ANNOTATIONS, "type"]);
const TYPES = ["object", "array", "string", "number", "integer", "boolean", "null"];
const COMBINING = ["$ref", "const", "enum", "anyOf", "oneOf", "allOf"] as const;

/** Reads a JSON schema (draft 2020-12) schema by schema, and refuses what a grammar cannot hold. */
export class SchemaReader {
  readonly root: unknown;

  constructor(root: unknown) {
    this.root = root;
  }

  /** @throws {SchemaError} naming a keyword and `at`, a JSON pointer. */
  read(schema: unknown, at: string): ReadSchema {
    if (schema === true) return { type: "any" };
    if (!isKeywords(schema)) throw new SchemaError(`no valid value at ${at}`);
    // Another base would change what references inside mean.
    if (at !== "#" && schema.$id !== undefined) throw new SchemaError(`$id at ${at}`);
    const rules = Object.keys(schema).filter((keyword) => !ANNOTATIONS.has(keyword));
    for (const keyword of COMBINING) {
      if (!rules.includes(keyword)) continue;
      const besides = rules.find((one) => one !== keyword && one !== "type");
      if (besides !== undefined) throw new SchemaError(`${besides} beside ${keyword} at ${at}`);
      return this.#combined(keyword, schema, at);
    }
    const stranger = rules.find((keyword) => !KNOWN.has(keyword) && !isIdle(keyword, schema));
    if (stranger !== undefined) throw new SchemaError(`${stranger} at ${at}`);
    const types = typesOf(schema, at);
    return types.length === 0 ? { type: "any" } : { type: "types", types, keywords: schema };
  }

  /** What a reference within the schema points to. @throws {SchemaError} if nothing is there. */
  resolve(reference: string, at: string): unknown {
    let value: unknown = this.root;
    for (const part of reference.split("/").slice(1)) {
      const key = decode(part).replaceAll("~1", "/").replaceAll("~0", "~");
      const isThere = typeof value === "object" && value !== null && Object.hasOwn(value, key);
      if (!isThere) throw new SchemaError(`$ref at ${at}: there is no ${reference}`);
      value = (value as Keywords)[key];
      if (isKeywords(value) && value.$id !== undefined) {
        throw new SchemaError(`$id at ${reference}`);
      }
    }
    return value;
  }

  /** A property's name as a part of a JSON pointer. */
  escape(name: string): string {
    return name.replaceAll("~", "~0").replaceAll("/", "~1");
  }

  #combined(keyword: typeof COMBINING[number], schema: Keywords, at: string): ReadSchema {
    if (keyword === "const" || keyword === "enum") {
      return { type: "values", values: listed(schema, at) };
    }
    if (schema.type !== undefined && keyword === "$ref") {
      throw new SchemaError(`type beside $ref at ${at}`);
    }
    if (keyword === "$ref") {
      return { type: "reference", reference: localReference(schema.$ref, at) };
    }
    const schemas = asArray(schema[keyword], `${keyword} at ${at}`);
    if (schema.type !== undefined && !schemas.every((one) => hasType(one, schema.type))) {
      throw new SchemaError(`type beside ${keyword} at ${at}`);
    }
    if (keyword === "allOf" && schemas.length > 1) {
      throw new SchemaError(`allOf of several schemas at ${at}`);
    }
    if (keyword === "oneOf" && !this.#areDisjoint(schemas, at)) {
      throw new SchemaError(`oneOf at ${at}, whose schemas may be valid together`);
    }
    return { type: "anyOf", keyword, schemas };
  }

  /** Whether no value is valid by two of them, as far as types and constants tell. */
  #areDisjoint(branches: readonly unknown[], at: string): boolean {
    const resolved = branches.map((one) =>
      isKeywords(one) && typeof one.$ref === "string"
        ? this.resolve(localReference(one.$ref, at), at)
        : one
    );
    return resolved.every((a, i) =>
      resolved.slice(i + 1).every((b) =>
        isKeywords(a) && isKeywords(b) && (haveOtherTypes(a, b) || haveOtherConstants(a, b))
      )
    );
  }
}

/** Whether a value is an object of keywords. */
export function isKeywords(value: unknown): value is Keywords {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @throws {SchemaError} for what is not an array. */
export function asArray(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new SchemaError(`${what}, which is not an array`);
}

/** A keyword whose value leaves everything as it is. */
function isIdle(keyword: string, schema: Keywords): boolean {
  if (keyword === "uniqueItems") return schema[keyword] === false;
  return keyword.startsWith("x-");
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function localReference(reference: unknown, at: string): string {
  if (typeof reference === "string" && /^#(\/|$)/.test(reference)) return reference;
  throw new SchemaError(`$ref at ${at}, which does not begin with #/`);
}

/** The types of a schema by `type`, or else by keywords that are about one type; none for any. */
function typesOf(schema: Keywords, at: string): readonly string[] {
  const { type } = schema;
  const types = type === undefined ? impliedTypes(schema) : Array.isArray(type) ? type : [type];
  const stranger = types.find((one) => !TYPES.includes(one as string));
  if (stranger === undefined) return types as string[];
  throw new SchemaError(`type ${JSON.stringify(stranger)} at ${at}`);
}

function impliedTypes(schema: Keywords): string[] {
  const type = Object.keys(BY_TYPE).find((type) =>
    BY_TYPE[type]!.some((keyword) => schema[keyword] !== undefined)
  );
  return type === undefined ? [] : [type];
}

function typeOfValue(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value;
}

function listed(schema: Keywords, at: string): readonly unknown[] {
  const values = Object.hasOwn(schema, "const")
    ? [schema.const]
    : asArray(schema.enum, `enum at ${at}`);
  if (schema.type === undefined) return values.length > 0 ? values : noneFits(at);
  const types = typesOf(schema, at);
  const fits = values.filter((value) =>
    types.includes(typeOfValue(value)) || (Number.isInteger(value) && types.includes("integer"))
  );
  return fits.length > 0 ? fits : noneFits(at);
}

function noneFits(at: string): never {
  throw new SchemaError(`no valid value at ${at}`);
}

/** Whether a schema in an `anyOf` repeats the type beside it. */
function hasType(schema: unknown, type: unknown): boolean {
  return isKeywords(schema) && schema.type === type;
}

function haveOtherTypes(a: Keywords, b: Keywords): boolean {
  const [left, right] = [kindsOf(a), kindsOf(b)];
  return left.length > 0 && right.length > 0 && !left.some((type) => right.includes(type));
}

/** Types, of which an integer is a number. */
function kindsOf(schema: Keywords): string[] {
  const values = constantsOf(schema);
  if (values !== undefined) return values.map(typeOfValue);
  const { type } = schema;
  const types = type === undefined ? [] : Array.isArray(type) ? type : [type];
  return types.map((one) => one === "integer" ? "number" : one);
}

function constantsOf(schema: unknown): readonly unknown[] | undefined {
  if (!isKeywords(schema)) return undefined;
  if (Object.hasOwn(schema, "const")) return [schema.const];
  return Array.isArray(schema.enum) ? schema.enum : undefined;
}

/** Constants of their own, or of a property that both require, none of them in common. */
function haveOtherConstants(a: Keywords, b: Keywords): boolean {
  if (areApart(constantsOf(a), constantsOf(b))) return true;
  const { properties: left, required: needed } = a;
  const { properties: right, required: alsoNeeded } = b;
  if (a.type !== "object" || b.type !== "object" || !isKeywords(left) || !isKeywords(right)) {
    return false;
  }
  if (!Array.isArray(needed) || !Array.isArray(alsoNeeded)) return false;
  return needed.some((name) =>
    alsoNeeded.includes(name) && areApart(constantsOf(left[name]), constantsOf(right[name]))
  );
}

function areApart(a: readonly unknown[] | undefined, b: readonly unknown[] | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  const texts = new Set(a.map((value) => JSON.stringify(value)));
  return !b.some((value) => texts.has(JSON.stringify(value)));
}
