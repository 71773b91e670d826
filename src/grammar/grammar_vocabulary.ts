import type { GrammarVocabulary } from "./grammar_compiler.ts";

/** The part of a tokenizer that is needed here. */
interface TokenTable {
  readonly vocabSize: number;
  readonly eosTokenIds: readonly number[];
  tokenBytes(id: number): Uint8Array;
  isSpecial(id: number): boolean;
}

const NO_TEXT = new Uint8Array();

/**
 * A tokenizer's vocabulary as grammars see it: special tokens are no text, so that none of them
 * comes in the midst of an answer. O(vocabulary).
 */
export function grammarVocabulary(table: TokenTable): GrammarVocabulary {
  const tokens = Array.from(
    { length: table.vocabSize },
    (_, id) => table.isSpecial(id) ? NO_TEXT : table.tokenBytes(id),
  );
  return { tokens, stopTokenIds: table.eosTokenIds };
}
