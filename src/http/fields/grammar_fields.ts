import { z } from "zod";
import type { CompiledGrammar } from "../../core/compiled_grammar.ts";
import type { GrammarFormat } from "../../core/grammar_format.ts";
import { boundedArray } from "../body/bounded_array.ts";
import { invalid, required, unsupported } from "../refusals.ts";
import type { GrammarPort } from "../services.ts";

/** Most texts to choose from. */
const MAX_CHOICES = 1024;
/** Longest schema, grammar or expression, as JSON: what is compiled is bounded, beside its time. */
const MAX_GRAMMAR_CHARS = 65_536;
/** How deep a schema may nest; the compiler's own stack ends somewhat beyond. */
const MAX_GRAMMAR_DEPTH = 64;

const Choice = z.string().min(1).max(MAX_GRAMMAR_CHARS);

/** Fields of both endpoints that say what an answer looks like; null counts as absent. */
export const GRAMMAR_FIELDS = {
  response_format: z.looseObject({
    type: z.enum(["text", "json_object", "json_schema", "structural_tag"]),
    json_schema: z.looseObject({
      name: z.string().nullish(),
      schema: z.unknown().optional(),
      strict: z.boolean().nullish(),
    }).nullish(),
  }).nullish(),
  structured_outputs: z.looseObject({
    json: z.unknown().optional(),
    json_object: z.boolean().nullish(),
    regex: z.string().min(1).nullish(),
    choice: boundedArray(Choice, { min: 1, max: MAX_CHOICES }).nullish(),
    grammar: z.string().min(1).nullish(),
    structural_tag: z.unknown().optional(),
  }).nullish(),
};

const GrammarFields = z.looseObject(GRAMMAR_FIELDS);
/** The checked values of {@link GRAMMAR_FIELDS}. */
export type GrammarFields = z.output<typeof GrammarFields>;

/** What an answer has to match, and the field that says so. */
export interface OutputConstraint {
  readonly format: GrammarFormat;
  /** For refusals. */
  readonly param: string;
}

/** What an answer has to match, compiled for its sequences; nothing where there is none. */
export async function compileConstraint(
  constraint: OutputConstraint | undefined,
  grammars: GrammarPort,
): Promise<{ readonly grammar?: CompiledGrammar }> {
  return constraint === undefined
    ? {}
    : { grammar: await grammars.compile(constraint.format, constraint.param) };
}

/** Fields that leave a grammar without a next token, each with its neutral value. */
const NOT_WITH_GRAMMAR: readonly (readonly [string, unknown])[] = [
  ["use_beam_search", false],
  ["ignore_eos", false],
  ["min_tokens", 0],
  ["allowed_token_ids", null],
];

/**
 * The format that a request asks for; undefined where it asks for none.
 *
 * @throws {RequestError} naming the field: for two formats, one that is too large, and for fields
 * that a grammar does not go with.
 */
export function outputConstraintOf(request: GrammarFields): OutputConstraint | undefined {
  const constraints = [responseFormat(request), structuredOutput(request)].filter((one) =>
    one !== undefined
  );
  if (constraints.length > 1) {
    throw invalid(
      "structured_outputs",
      "structured_outputs and response_format cannot both be given",
    );
  }
  const [only] = constraints;
  if (only === undefined) return undefined;
  checkSize(only);
  checkGrammarFields(request, only.param);
  return only;
}

/**
 * A schema that an API asks for in a field of its own; without one, any JSON object.
 *
 * @param request for the fields that a grammar does not go with.
 * @throws {RequestError} naming the field, as {@link outputConstraintOf} does.
 */
export function schemaConstraint(
  schema: unknown,
  param: string,
  request: Readonly<Record<string, unknown>>,
): OutputConstraint {
  const constraint = { format: jsonFormat(schema ?? { type: "object" }), param };
  checkSize(constraint);
  checkGrammarFields(request, param);
  return constraint;
}

/**
 * Refuses what would leave a grammar without a next token.
 *
 * @param param the field that asks for the grammar.
 * @throws {RequestError} naming the other field.
 */
export function checkGrammarFields(
  request: Readonly<Record<string, unknown>>,
  param: string,
): void {
  for (const [name, neutral] of NOT_WITH_GRAMMAR) {
    const value = request[name];
    if (value === undefined || value === null || value === neutral) continue;
    throw unsupported(name, `${name} is not supported with ${param}: leave it out`);
  }
}

function responseFormat({ response_format: field }: GrammarFields): OutputConstraint | undefined {
  if (field === undefined || field === null || field.type === "text") return undefined;
  const { type, json_schema } = field;
  if (type === "structural_tag") {
    return { format: structuralTag(field, "response_format"), param: "response_format" };
  }
  if (type === "json_object") {
    const schema = field.schema ?? { type: "object" };
    return { format: jsonFormat(schema), param: "response_format" };
  }
  const param = "response_format.json_schema";
  const { schema } = required(json_schema, param);
  return { format: jsonFormat(schema ?? { type: "object" }), param };
}

function structuredOutput(
  { structured_outputs: field }: GrammarFields,
): OutputConstraint | undefined {
  if (field === undefined || field === null) return undefined;
  const given = STRUCTURED.filter(([name]) => {
    const value = field[name];
    return value !== undefined && value !== null && value !== false;
  });
  if (given.length !== 1) {
    throw invalid(
      "structured_outputs",
      `structured_outputs must have one of ${STRUCTURED.map(([name]) => name).join(", ")}, got ` +
        (given.length === 0 ? "none" : given.map(([name]) => name).join(" and ")),
    );
  }
  const [name, toFormat] = given[0]!;
  const param = `structured_outputs.${name}`;
  return { format: toFormat(field[name], param), param };
}

/** How each member of `structured_outputs` becomes a format. */
const STRUCTURED: readonly (readonly [
  name: string,
  toFormat: (value: unknown, param: string) => GrammarFormat,
])[] = [
  ["json", (schema, param) => jsonFormat(parsed(schema, param))],
  ["json_object", () => jsonFormat({ type: "object" })],
  ["regex", (pattern) => ({ type: "regex", pattern: pattern as string })],
  ["choice", (choices) => choiceFormat(choices as string[])],
  ["grammar", (grammar) => ({ type: "grammar", grammar: grammar as string })],
  ["structural_tag", (tag, param) => structuralTag(parsed(tag, param), param)],
];

function jsonFormat(schema: unknown): GrammarFormat {
  return { type: "json_schema", json_schema: schema };
}

function choiceFormat(choices: readonly string[]): GrammarFormat {
  const elements = [...new Set(choices)].map((value) => ({ type: "const_string", value }) as const);
  return elements.length === 1 ? elements[0]! : { type: "or", elements };
}

/** A value, or a text of JSON that says it, as vLLM takes schemas and tags as well. */
function parsed(value: unknown, param: string): unknown {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    throw invalid(param, `${param} is a text that is not JSON`);
  }
}

/** XGrammar's structural tag: its `format`, or the older list of `structures` with `triggers`. */
function structuralTag(value: unknown, param: string): GrammarFormat {
  const tag = LegacyTag.safeParse(value);
  if (tag.success) {
    const tags = tag.data.structures.map(({ begin, schema, end }) =>
      ({ type: "tag", begin, content: jsonFormat(schema), end }) as const
    );
    return { type: "triggered_tags", triggers: tag.data.triggers, tags };
  }
  const { format } = (typeof value === "object" && value !== null ? value : {}) as {
    format?: unknown;
  };
  if (typeof format === "object" && format !== null) return format as GrammarFormat;
  throw invalid(param, `${param} must have a format, or structures and triggers`);
}

const LegacyTag = z.looseObject({
  structures: z.array(z.looseObject({
    begin: z.string(),
    schema: z.unknown(),
    end: z.string(),
  })).min(1).max(MAX_CHOICES),
  triggers: z.array(z.string()).min(1).max(MAX_CHOICES),
});

/**
 * @throws {RequestError} for a format that is longer or nests deeper than is compiled. It is
 * walked no further than the limits.
 */
export function checkSize({ format, param }: OutputConstraint): void {
  let numChars = 0;
  let level: unknown[] = [format];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_GRAMMAR_DEPTH) {
      throw invalid(param, `${param} must nest at most ${MAX_GRAMMAR_DEPTH} levels deep`);
    }
    const next: unknown[] = [];
    for (const value of level) {
      numChars += charsOf(value);
      if (numChars > MAX_GRAMMAR_CHARS) {
        throw invalid(param, `${param} must be JSON of at most ${MAX_GRAMMAR_CHARS} characters`);
      }
      if (typeof value === "object" && value !== null) next.push(...Object.values(value));
    }
    level = next;
  }
}

/** Characters of a value itself, without those inside it. */
function charsOf(value: unknown): number {
  if (typeof value === "string") return value.length + 2;
  if (typeof value !== "object" || value === null) return 4;
  return Object.keys(value).reduce((sum, key) => sum + key.length + 2, 2);
}
