import type { TokenId } from "./ids.ts";

/** Tokens that stand before a prefix, a suffix, and the middle that is filled in. */
export interface FillInTokens {
  readonly prefix: TokenId;
  readonly suffix: TokenId;
  readonly middle: TokenId;
}
