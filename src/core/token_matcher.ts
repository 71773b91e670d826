import type { CompiledGrammar } from "./compiled_grammar.ts";
import type { ErrorData } from "./errors.ts";
import type { SequenceId, TokenId } from "./ids.ts";

/** Follows one sequence through a grammar, and says which tokens may come next. */
export interface TokenMatcher {
  /**
   * The tokens that may come next, bit `t % 32` of word `t / 32` for token `t`: made anew for each
   * token, so that a batch may keep it.
   */
  readonly allowedTokens: Uint32Array;
  /** Takes the token that was drawn; returns why no further one can be, or undefined. */
  accept(token: TokenId): ErrorData | undefined;
  /** The sequence has ended. Idempotent. */
  close(): void;
}

/** Makes matchers; the scheduler is handed one. */
export interface TokenMatchers {
  /**
   * A matcher at the beginning of an answer, for one sequence.
   *
   * @throws {RequestError} when too many grammars are in use, or nothing matches this one.
   */
  create(grammar: CompiledGrammar, sequenceId: SequenceId): TokenMatcher;
}
