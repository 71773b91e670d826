/**
 * Models whose rotary angles depend on how long a sequence is (LongRoPE, `models/rope_scaling.ts`):
 * up to `shortContextLen` tokens it reads one set of rows of the position tables, and beyond it
 * another, for all of its positions. So the KV of the two is never the same, and a sequence that
 * outgrows the first is computed anew.
 *
 *     tokens of the sequence   1 ........ shortContextLen | shortContextLen + 1 ...
 *     its scope in the cache   SCOPE                      | SCOPE \0long
 *
 * The scope says which of the two a sequence is, wherever its KV goes: in the prefix cache, in
 * events, in lower tiers and after a restart. No scope of a request has a zero in it.
 */

const LONG_MARK = "\0long";

/** The scope of KV that is computed for long contexts, of sequences of `scope`. Idempotent. */
export function longScope(scope: string): string {
  return isLongScope(scope) ? scope : scope + LONG_MARK;
}

/** Whether KV of a scope is computed for long contexts. */
export function isLongScope(scope: string | undefined): boolean {
  return scope?.endsWith(LONG_MARK) ?? false;
}

/**
 * The scope in which a sequence of so many tokens is found.
 *
 * @param shortContextLen absent where angles do not depend on lengths.
 */
export function scopeAtLength(
  scope: string,
  numTokens: number,
  shortContextLen: number | undefined,
): string {
  return numTokens > (shortContextLen ?? Infinity) ? longScope(scope) : scope;
}
