import { z } from "zod";
import { parseByteSize } from "../base/byte_size.ts";
import { omitUndefined } from "../base/omit_undefined.ts";
import { StartupError } from "./errors.ts";

/** What a schema field declares beyond its type, through zod's `.meta()`. */
export interface FlagMeta {
  /** One sentence for `--help`, the unit included. */
  readonly description: string;
  /** Heading of `--help` under which the flag stands. */
  readonly group: string;
  /** Stands for the value in `--help`, such as `N` or `SECONDS`; empty for a switch. */
  readonly value: string;
  /** What a value must be, in words; stated for texts of some form, else derived. */
  readonly expected?: string;
  /** A size in bytes that may carry a KiB, MiB, GiB or TiB suffix. */
  readonly bytes?: boolean;
  /** Never printed, neither in errors nor in logs. */
  readonly secret?: boolean;
  /** Describes a default that is not in the schema. */
  readonly defaultText?: string;
  /** Other spellings, dashes included, such as `-c` and `--ctx-size`. */
  readonly aliases?: readonly string[];
}

/** One command-line flag with its environment twin, as derived from one field of the schema. */
export interface Flag extends FlagMeta {
  /** Field of the configuration, such as `maxModelLen`. */
  readonly field: string;
  /** Without the dashes, such as `max-model-len`. */
  readonly name: string;
  /** Environment variable of the same meaning, such as `QUIRE_MAX_MODEL_LEN`. */
  readonly environment: string;
  readonly kind: "integer" | "text" | "list" | "switch";
  /** The word that may stand for an integer. */
  readonly word?: string;
  /** What a value must be, in words: `an integer from 0 to 65535`. */
  readonly expected: string;
}

/** A number of decimal digits, perhaps with a fraction, as text: flags know integers alone. */
export const decimalText: z.ZodString = z.string().regex(/^\d+(\.\d+)?$/);

/** The part of JSON Schema that zod writes for the kinds of field a configuration has. */
interface FieldSchema extends FlagMeta {
  readonly type: "integer" | "string" | "array" | "boolean";
  /** A word, or an integer. */
  readonly anyOf?: readonly [{ readonly const: string }, FieldSchema];
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly multipleOf?: number;
  readonly default?: unknown;
}

/** Derives the flags from the schema of a configuration, in the schema's order. */
export function flagsOf(schema: z.ZodObject): readonly Flag[] {
  const { properties = {} } = z.toJSONSchema(schema, { io: "input" });
  return Object.entries(properties).map(([field, json]) =>
    toFlag(field, json as unknown as FieldSchema)
  );
}

const KINDS: Readonly<Record<FieldSchema["type"], Flag["kind"]>> = {
  integer: "integer",
  string: "text",
  array: "list",
  boolean: "switch",
};

function toFlag(field: string, { anyOf, ...given }: FieldSchema): Flag {
  const [word, json] = anyOf === undefined
    ? [undefined, given]
    : [anyOf[0].const, { ...anyOf[1], ...given }];
  const name = field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const defaultText = json.defaultText ?? describeDefault(json.default);
  return {
    field,
    name,
    environment: `QUIRE_${name.replaceAll("-", "_").toUpperCase()}`,
    kind: KINDS[json.type],
    expected: `${word === undefined ? "" : `${word} or `}${describeExpected(json)}`,
    description: json.description,
    group: json.group,
    value: json.enum?.join("|") ?? json.value,
    ...omitUndefined({
      word,
      bytes: json.bytes,
      secret: json.secret,
      aliases: json.aliases,
      defaultText,
    }),
  };
}

function describeDefault(value: unknown): string | undefined {
  if (value === undefined || Array.isArray(value)) return undefined;
  return String(value);
}

function describeExpected(json: FieldSchema): string {
  if (json.expected !== undefined) return json.expected;
  if (json.enum !== undefined) return `one of ${json.enum.join(", ")}`;
  if (json.type === "array") return "one or more non-empty values, separated by commas";
  if (json.type === "string") return "a non-empty text";
  if (json.type === "boolean") return "true or false";
  const range = describeRange(json.minimum ?? -Infinity, json.maximum ?? Infinity);
  if (json.bytes === true) return `a size in bytes ${range}, such as 512MiB`;
  const step = json.multipleOf === undefined ? "" : ` and a multiple of ${json.multipleOf}`;
  return `an integer ${range}${step}`;
}

function describeRange(minimum: number, maximum: number): string {
  return maximum >= Number.MAX_SAFE_INTEGER
    ? `of at least ${minimum}`
    : `from ${minimum} to ${maximum}`;
}

/** What may follow a switch's `=` or stand in its variable; the flag alone means `true`. */
const SWITCH_TEXTS: ReadonlyMap<string, boolean> = new Map([
  ["true", true],
  ["1", true],
  ["false", false],
  ["0", false],
]);

/**
 * Turns the text of a flag or variable into the type that the schema checks. What has the wrong
 * form stays text, which the schema then refuses.
 */
export function readFlagText(flag: Flag, texts: readonly string[]): unknown {
  if (flag.kind === "list") {
    return texts.flatMap((text) => text.split(",")).map((part) => part.trim());
  }
  const text = texts.at(-1)!.trim();
  if (flag.kind === "text") return text;
  if (flag.kind === "switch") return SWITCH_TEXTS.get(text.toLowerCase()) ?? text;
  if (text === flag.word) return text;
  if (flag.bytes === true) return parseByteSize(text) ?? text;
  return /^[+-]?\d+$/.test(text) ? Number(text) : text;
}

/**
 * The error for a value that the schema refused: names the flag, what it must be, and what came.
 */
export function refuseFlagText(flag: Flag, source: string, texts: readonly string[]): StartupError {
  const got = flag.secret === true ? "" : `, got ${JSON.stringify(texts.join(","))}`;
  const hint = source === flag.environment && /^\w+:\/\//.test(texts[0] ?? "")
    ? ". Kubernetes sets such a variable for a service of the name quire; rename the service or set the variable"
    : "";
  return new StartupError(`${source} must be ${flag.expected}${got}${hint}`);
}
