import type { CompiledGrammar } from "../../src/core/compiled_grammar.ts";
import type { GrammarFormat } from "../../src/core/grammar_format.ts";
import type { TokenMatchers } from "../../src/core/token_matcher.ts";
import {
  GrammarCompiler,
  type GrammarLimits,
  type GrammarVocabulary,
} from "../../src/grammar/grammar_compiler.ts";

/** Ends a text of {@link BYTES}. */
export const STOP = 256;

/** A vocabulary of all bytes, and a token that ends a text. */
export const BYTES: GrammarVocabulary = {
  tokens: [...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)), new Uint8Array()],
  stopTokenIds: [STOP],
};

/** Limits that no grammar of the tests meets by chance. */
export const LIMITS: GrammarLimits = { deadlineMs: 60_000, maxBytes: 2 ** 29 };

/** Compiles, and fails where that is refused. */
export function compiled(
  compiler: GrammarCompiler,
  format: GrammarFormat,
  key = JSON.stringify(format),
): CompiledGrammar {
  const outcome = compiler.compile({ key, format, limits: LIMITS });
  if (outcome.type !== "compiled") throw new Error(`${key}: ${outcome.message}`);
  return outcome.grammar;
}

/** The tokens of a bitmask, ascending. */
export function tokensOf(bitmask: Uint32Array): number[] {
  const tokens: number[] = [];
  for (let token = 0; token < 32 * bitmask.length; token++) {
    if ((bitmask[token >>> 5]! >>> (token & 31) & 1) === 1) tokens.push(token);
  }
  return tokens;
}

/** Random numbers in [0, 1), the same ones for the same seed. */
export function randomOf(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff) / 0x80000000;
}

/**
 * A text of a grammar over {@link BYTES}, drawn at random among what may come next; undefined where
 * it is longer than `maxTokens`.
 */
export function sampleText(
  matchers: TokenMatchers,
  grammar: CompiledGrammar,
  random: () => number,
  maxTokens = 300,
): string | undefined {
  const matcher = matchers.create(grammar, 0);
  const bytes: number[] = [];
  try {
    while (bytes.length <= maxTokens) {
      const allowed = tokensOf(matcher.allowedTokens);
      const stops = allowed.includes(STOP) && random() < 0.5;
      const token = stops ? STOP : allowed[Math.floor(random() * allowed.length)]!;
      if (token === STOP) {
        return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
      }
      const error = matcher.accept(token);
      if (error !== undefined) throw new Error(error.message);
      bytes.push(token);
    }
    return undefined;
  } finally {
    matcher.close();
  }
}

/** Whether a grammar over {@link BYTES} has the text, and may end after it. */
export function matches(matchers: TokenMatchers, grammar: CompiledGrammar, text: string): boolean {
  const matcher = matchers.create(grammar, 0);
  try {
    for (const byte of new TextEncoder().encode(text)) {
      if (!tokensOf(matcher.allowedTokens).includes(byte)) return false;
      matcher.accept(byte);
    }
    return tokensOf(matcher.allowedTokens).includes(STOP);
  } finally {
    matcher.close();
  }
}
