import type { CompiledGrammar } from "../../src/core/compiled_grammar.ts";
import { type ErrorData, RequestError } from "../../src/core/errors.ts";
import type { TokenMatcher, TokenMatchers } from "../../src/core/token_matcher.ts";

const NOTHING = { numBytes: 0, pages: new Uint32Array(), contents: new Uint8Array() };

/** A grammar without a memory; its key says what a fake matcher does. */
export function fakeGrammar(key: string): CompiledGrammar {
  return {
    key,
    vocabSize: 17,
    code: new Uint8Array(),
    base: NOTHING,
    changes: NOTHING,
    address: 1,
  };
}

/** What a fake matcher of this key allows after these tokens. */
export function allowedAfter(key: string, outputs: readonly number[]): Uint32Array {
  const hash = [...key, ...outputs].reduce<number>((sum, one) => 31 * sum + Number(one) | 0, 7);
  return Uint32Array.of(hash >>> 0);
}

/** The error of a matcher whose key is "9" after its third token. */
export const FAILURE: ErrorData = new RequestError("no further token", { status: 500 }).data;

/** Matchers that take any token, and tell what they have seen; "8" cannot be matched. */
export class FakeMatchers implements TokenMatchers {
  numMade = 0;
  numOpen = 0;

  create({ key }: CompiledGrammar): TokenMatcher {
    if (key === "8") throw new RequestError("too many grammars", { status: 429 });
    this.numMade++;
    this.numOpen++;
    const outputs: number[] = [];
    let isOpen = true;
    const noteClosed = () => this.numOpen--;
    return {
      allowedTokens: allowedAfter(key, outputs),
      accept(token) {
        if (!isOpen) throw new Error("a token after the end");
        outputs.push(token);
        (this as { allowedTokens: Uint32Array }).allowedTokens = allowedAfter(key, outputs);
        return key === "9" && outputs.length === 3 ? FAILURE : undefined;
      },
      close() {
        if (isOpen) noteClosed();
        isOpen = false;
      },
    };
  }
}
