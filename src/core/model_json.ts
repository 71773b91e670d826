import type { z } from "zod";
import { StartupError } from "./errors.ts";

const MIB = 1024 * 1024;

/**
 * A model's small files: the path of their directory, or their texts where they are made from
 * another format. Plain data, so that it crosses between isolates.
 */
export type ModelFiles = string | ModelTexts;

/** The small files that a model in another format stands for. */
export interface ModelTexts {
  /** The file they are made from. */
  readonly path: string;
  /** By name, such as `config.json`. */
  readonly texts: Readonly<Record<string, string>>;
}

/** What one of a model's files is called in error messages; in a directory, its path. */
export function modelFile(files: ModelFiles, name: string): string {
  if (typeof files !== "string") return `${files.path} (as ${name})`;
  return `${files.replace(/[\\/]+$/, "")}/${name}`;
}

/**
 * Text of one of a model's small files, or undefined where the model has none by that name.
 *
 * @throws {StartupError} when it is not a regular file, is larger than `maxBytes`, or cannot be
 * read.
 */
export function readModelText(
  files: ModelFiles,
  name: string,
  maxBytes: number = 16 * MIB,
): string | undefined {
  const path = modelFile(files, name);
  if (typeof files !== "string") {
    const text = Object.hasOwn(files.texts, name) ? files.texts[name] : undefined;
    if (text !== undefined && text.length > maxBytes) {
      throw new StartupError(
        `${path} has ${text.length} characters, over the limit of ${maxBytes}`,
      );
    }
    return text;
  }
  try {
    const { isFile, size } = Deno.statSync(path);
    if (!isFile) throw new StartupError(`${path} is not a regular file`);
    if (size > maxBytes) {
      throw new StartupError(`${path} has ${size} bytes, over the limit of ${maxBytes}`);
    }
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    if (error instanceof StartupError) throw error;
    throw new StartupError(`Cannot read ${path}: ${(error as Error).message}`);
  }
}

/**
 * As {@link readModelText}, parsed; the value is not checked further.
 *
 * @throws {StartupError} also when the text is not JSON.
 */
export function readModelJson(files: ModelFiles, name: string, maxBytes?: number): unknown {
  const text = readModelText(files, name, maxBytes);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new StartupError(
      `${modelFile(files, name)} is not valid JSON: ${(error as Error).message}`,
    );
  }
}

/**
 * `value` as `schema` understands it.
 *
 * @throws {StartupError} naming the file, the first offending field, its value and the limit.
 */
export function parseModelJson<T extends z.ZodType>(
  schema: T,
  value: unknown,
  file: string,
): z.infer<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0]!;
  const field = path.length === 0 ? "the whole file" : `field "${path.join(".")}"`;
  throw new StartupError(`${file}: ${field} is ${showValue(valueAt(value, path))}: ${message}`);
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let current: unknown = value;
  for (const key of path) {
    if (typeof current !== "object" || current === null) return undefined;
    current = (current as Record<PropertyKey, unknown>)[key];
  }
  return current;
}

/** JSON of a value, cut to a length that suits one line; "missing" for undefined. */
function showValue(value: unknown): string {
  if (value === undefined) return "missing";
  const text = JSON.stringify(value);
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}
