import type { z } from "zod";
import { StartupError } from "./errors.ts";

const MIB = 1024 * 1024;

/** Path of a model's file for opening and for error messages. */
export function modelFile(dir: string, name: string): string {
  return `${dir.replace(/[\\/]+$/, "")}/${name}`;
}

/**
 * Text of one of a model's small files, or undefined where the model has none by that name.
 *
 * @throws {StartupError} when it is not a regular file, is larger than `maxBytes`, or cannot be
 * read.
 */
export function readModelText(
  dir: string,
  name: string,
  maxBytes: number = 16 * MIB,
): string | undefined {
  const path = modelFile(dir, name);
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
export function readModelJson(dir: string, name: string, maxBytes?: number): unknown {
  const text = readModelText(dir, name, maxBytes);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new StartupError(
      `${modelFile(dir, name)} is not valid JSON: ${(error as Error).message}`,
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
