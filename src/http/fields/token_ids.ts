import type { TokenId } from "../../core/ids.ts";
import { invalid } from "../refusals.ts";

/**
 * Checks the token ids that a client sent, up to the first that is none.
 *
 * @throws {RequestError} naming it by its place under `param`.
 */
export function parseTokenIds(
  values: readonly unknown[],
  param: string,
  vocabSize: number,
): readonly TokenId[] {
  const at = values.findIndex((value) => !isTokenId(value, vocabSize));
  if (at === -1) return values as readonly TokenId[];
  const value = values[at];
  const got = typeof value === "number" ? String(value) : typeof value;
  throw invalid(
    `${param}.${at}`,
    `${param}.${at} must be a token id, an integer from 0 to ${vocabSize - 1}, got ${got}`,
  );
}

function isTokenId(value: unknown, vocabSize: number): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < vocabSize;
}
