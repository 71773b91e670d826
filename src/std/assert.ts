/**
 * `@std/assert` by name and meaning over `node:assert/strict`; see the import map in `deno.json`.
 */
import assertStrict, { AssertionError } from "node:assert/strict";

export { AssertionError };

/** Fails unless `condition` is truthy. */
export function assert(condition: unknown, message = ""): asserts condition {
  if (!condition) throw new AssertionError({ message: message || "expected a truthy value" });
}

/** Deep equality. */
export function assertEquals<T>(actual: T, expected: T, message?: string): void {
  // The same value, as most are, costs no walk.
  if (!Object.is(actual, expected)) assertStrict.deepStrictEqual(actual, expected, message);
}

/** Deep inequality. */
export function assertNotEquals<T>(actual: T, expected: T, message?: string): void {
  assertStrict.notDeepStrictEqual(actual, expected, message);
}

/** `|actual - expected| <= tolerance`. */
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance = Math.abs(expected) * 1e-7,
  message = "",
): void {
  const near = Object.is(actual, expected) || Math.abs(actual - expected) <= tolerance;
  assert(near, message || `${actual} differs from ${expected} by more than ${tolerance}`);
}

/** Fails unless `text` contains `part`. */
export function assertStringIncludes(text: string, part: string, message = ""): void {
  assert(text.includes(part), message || `${JSON.stringify(text)} lacks ${JSON.stringify(part)}`);
}

/** Fails unless `text` matches `pattern`. */
export function assertMatch(text: string, pattern: RegExp, message = ""): void {
  assert(pattern.test(text), message || `${JSON.stringify(text)} does not match ${pattern}`);
}

// deno-lint-ignore no-explicit-any -- any constructor, as in the original
type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

function checkError<E extends Error>(error: unknown, type: ErrorClass<E>, part: string): E {
  assert(error instanceof type, `expected ${type.name}, got ${error}`);
  assertStringIncludes(error.message, part);
  return error;
}

/** Runs `fn`, which must throw a `type` whose message contains `part`; returns the error. */
export function assertThrows<E extends Error>(
  fn: () => unknown,
  type: ErrorClass<E> = Error as unknown as ErrorClass<E>,
  part = "",
): E {
  let result: unknown;
  try {
    result = fn();
  } catch (error) {
    return checkError(error, type, part);
  }
  throw new AssertionError({ message: `expected ${type.name}, got a return of ${result}` });
}

/** As {@link assertThrows} for a promise. */
export async function assertRejects<E extends Error>(
  fn: () => PromiseLike<unknown>,
  type: ErrorClass<E> = Error as unknown as ErrorClass<E>,
  part = "",
): Promise<E> {
  let result: unknown;
  try {
    result = await fn();
  } catch (error) {
    return checkError(error, type, part);
  }
  throw new AssertionError({ message: `expected ${type.name}, got a resolution of ${result}` });
}
