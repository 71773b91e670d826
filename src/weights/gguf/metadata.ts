import { StartupError } from "../../core/errors.ts";
import type { ByteCursor } from "./byte_cursor.ts";

/** A value of the metadata. Integers of 64 bits are numbers where these hold them exactly. */
export type MetadataValue =
  | number
  | bigint
  | boolean
  | string
  | readonly number[]
  | readonly bigint[]
  | readonly boolean[]
  | readonly string[];

/** Most elements of one array; the largest vocabularies have some 300,000 tokens. */
const MAX_ARRAY = 4 << 20;
const MAX_KEY_CHARS = 65_535;

/** A type of values: least bytes of one, and how it is read. */
interface ValueType {
  readonly name: string;
  readonly minBytes: number;
  readonly read: (cursor: ByteCursor, what: string) => number | bigint | boolean | string;
}

/** By their number in a file; 9 is an array. */
const VALUE_TYPES: Readonly<Record<number, ValueType>> = {
  0: { name: "u8", minBytes: 1, read: (cursor) => cursor.u8() },
  1: { name: "i8", minBytes: 1, read: (cursor) => cursor.i8() },
  2: { name: "u16", minBytes: 2, read: (cursor) => cursor.u16() },
  3: { name: "i16", minBytes: 2, read: (cursor) => cursor.i16() },
  4: { name: "u32", minBytes: 4, read: (cursor) => cursor.u32() },
  5: { name: "i32", minBytes: 4, read: (cursor) => cursor.i32() },
  6: { name: "f32", minBytes: 4, read: (cursor) => cursor.f32() },
  7: { name: "bool", minBytes: 1, read: (cursor) => cursor.u8() !== 0 },
  8: { name: "string", minBytes: 8, read: (cursor, what) => cursor.string(what) },
  10: { name: "u64", minBytes: 8, read: (cursor) => exact(cursor.u64()) },
  11: { name: "i64", minBytes: 8, read: (cursor) => exact(cursor.i64()) },
  12: { name: "f64", minBytes: 8, read: (cursor) => cursor.f64() },
};
const ARRAY = 9;

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** The metadata of a GGUF file: values by key, each checked when it is asked for. */
export class Metadata {
  readonly #values: ReadonlyMap<string, MetadataValue>;
  readonly #file: string;

  /** @param file what errors call it. */
  constructor(values: ReadonlyMap<string, MetadataValue>, file: string) {
    this.#values = values;
    this.#file = file;
  }

  /** The file that errors name. */
  get file(): string {
    return this.#file;
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** All keys, in the file's order. */
  keys(): string[] {
    return [...this.#values.keys()];
  }

  /** The value as it is; undefined for none. */
  value(key: string): MetadataValue | undefined {
    return this.#values.get(key);
  }

  /** @throws {StartupError} when there is a value of another type. */
  text(key: string): string | undefined {
    return this.#typed(key, "a string", (value) => typeof value === "string");
  }

  /** @throws {StartupError} when there is a value of another type. */
  flag(key: string): boolean | undefined {
    return this.#typed(key, "a bool", (value) => typeof value === "boolean");
  }

  /** @throws {StartupError} when there is a value that is not a finite number. */
  number(key: string): number | undefined {
    const isNumber = (value: unknown): value is number => Number.isFinite(value);
    return this.#typed(key, "a finite number", isNumber);
  }

  /** @throws {StartupError} when there is a value that is not an integer from 0 to 2^53 - 1. */
  count(key: string): number | undefined {
    return this.#typed(key, "a count", isCount);
  }

  /** As `count`, where an array of equal counts, one per layer, stands for one. */
  sameCount(key: string): number | undefined {
    const value = this.#values.get(key);
    if (!Array.isArray(value)) return this.count(key);
    const [first] = value;
    if (isCount(first) && value.every((each) => each === first)) return first;
    throw new StartupError(
      `${this.#file}: ${key} differs from layer to layer, which is not supported`,
    );
  }

  /** @throws {StartupError} when the key is missing or its value not a count. */
  requireCount(key: string): number {
    const value = this.sameCount(key);
    if (value === undefined) throw new StartupError(`${this.#file}: metadata lacks ${key}`);
    return value;
  }

  /** @throws {StartupError} when there is a value of another type. */
  texts(key: string): readonly string[] | undefined {
    return this.#list(key, "an array of strings", (value) => typeof value === "string");
  }

  /** @throws {StartupError} when there is a value of another type. */
  numbers(key: string): readonly number[] | undefined {
    const isNumber = (value: unknown): value is number => typeof value === "number";
    return this.#list(key, "an array of numbers", isNumber);
  }

  /** @throws {StartupError} when there is a value of another type. */
  flags(key: string): readonly boolean[] | undefined {
    return this.#list(key, "an array of bools", (value) => typeof value === "boolean");
  }

  #typed<T>(key: string, kind: string, is: (value: unknown) => value is T): T | undefined {
    const value = this.#values.get(key);
    if (value === undefined || is(value)) return value;
    throw new StartupError(`${this.#file}: ${key} is ${show(value)}: must be ${kind}`);
  }

  #list<T>(
    key: string,
    kind: string,
    is: (value: unknown) => value is T,
  ): readonly T[] | undefined {
    const isList = (value: unknown): value is readonly T[] =>
      Array.isArray(value) && value.every(is);
    return this.#typed(key, kind, isList);
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** A value in an error message, short enough for one line. */
function show(value: MetadataValue): string {
  const text = typeof value === "bigint" ? String(value) : JSON.stringify(value) ?? "missing";
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}

/**
 * Reads `count` keys and values.
 *
 * @throws {StartupError} naming file and key for what is cut short, too large, of an unknown type
 * or given twice.
 */
export function readMetadata(cursor: ByteCursor, count: number, file: string): Metadata {
  const values = new Map<string, MetadataValue>();
  for (let i = 0; i < count; i++) {
    const key = cursor.string(`key ${i} of the metadata`);
    if (key === "" || key.length > MAX_KEY_CHARS) {
      throw new StartupError(`${file}: key ${i} of the metadata has ${key.length} characters`);
    }
    if (values.has(key)) throw new StartupError(`${file}: metadata has ${shortKey(key)} twice`);
    values.set(key, readValue(cursor, shortKey(key), file));
  }
  return new Metadata(values, file);
}

function shortKey(key: string): string {
  return JSON.stringify(key.slice(0, 80));
}

function readValue(cursor: ByteCursor, key: string, file: string): MetadataValue {
  const id = cursor.u32();
  if (id !== ARRAY) return valueType(id, key, file).read(cursor, key);
  const type = valueType(cursor.u32(), key, file);
  const length = cursor.requireRoom(cursor.u64(), type.minBytes, `array ${key}`);
  if (length > MAX_ARRAY) {
    throw new StartupError(
      `${file}: array ${key} has ${length} elements, over the limit of ${MAX_ARRAY}`,
    );
  }
  return Array.from({ length }, () => type.read(cursor, key)) as unknown as MetadataValue;
}

function valueType(id: number, key: string, file: string): ValueType {
  const type = Object.hasOwn(VALUE_TYPES, id) ? VALUE_TYPES[id] : undefined;
  if (type !== undefined) return type;
  const kind = id === ARRAY ? "an array of arrays" : `of type ${id}`;
  throw new StartupError(`${file}: metadata ${key} is ${kind}, which is not known`);
}
