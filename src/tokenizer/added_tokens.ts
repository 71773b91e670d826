import type { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import { isControlToken } from "./control_tokens.ts";
import { TextTrie } from "./text_trie.ts";

type AddedToken = ReturnType<LibraryTokenizer["get_added_tokens_decoder"]> extends
  Map<number, infer Token> ? Token : never;

/**
 * Finds added tokens in a text before it is split into words: all of them, or all but the control
 * tokens. Order and rules are the library's: first in the text as given, then, for tokens with
 * `normalized`, in the normalized text between those found.
 */
export class AddedTokens {
  readonly #asGiven: TextTrie;
  readonly #normalized: TextTrie;
  readonly #byText = new Map<string, AddedToken>();

  /** @param normalize the tokenizer's normalizer, or undefined for none. */
  constructor(tokens: Iterable<AddedToken>, normalize: ((text: string) => string) | undefined) {
    const asGiven: string[] = [];
    const normalized: string[] = [];
    for (const token of tokens) {
      this.#byText.set(token.content, token);
      if (!token.normalized || normalize === undefined) {
        asGiven.push(token.content);
        continue;
      }
      const text = normalize(token.content);
      normalized.push(text);
      this.#byText.set(text, token);
    }
    this.#asGiven = new TextTrie(asGiven);
    this.#normalized = new TextTrie(normalized);
  }

  /** The id of the added token with exactly this text. */
  idOf(text: string): number | undefined {
    return this.#byText.get(text)?.id;
  }

  /**
   * Splits a text before normalization into added tokens and the text between, which may be empty.
   */
  splitGiven(text: string): string[] {
    return this.#trimAround(this.#asGiven.split(text));
  }

  /** Splits a normalized text in the same way. */
  splitNormalized(text: string): string[] {
    return this.#trimAround(this.#normalized.split(text));
  }

  /** Tokens with `lstrip` or `rstrip` swallow the white space beside them. */
  #trimAround(pieces: string[]): string[] {
    pieces.forEach((piece, i) => {
      const token = this.#byText.get(piece);
      if (token?.lstrip && i > 0) pieces[i - 1] = pieces[i - 1]!.trimEnd();
      if (token?.rstrip && i < pieces.length - 1) pieces[i + 1] = pieces[i + 1]!.trimStart();
    });
    return pieces;
  }
}

/** All added tokens of a vocabulary, and those without the control tokens. */
export function addedTokensOf(
  library: LibraryTokenizer,
): { readonly all: AddedTokens; readonly withoutControl: AddedTokens } {
  const tokens = [...library.get_added_tokens_decoder().values()];
  const normalizer = library.normalizer;
  const normalize = normalizer === null ? undefined : (text: string) => normalizer.normalize(text);
  return {
    all: new AddedTokens(tokens, normalize),
    withoutControl: new AddedTokens(tokens.filter((token) => !isControlToken(token)), normalize),
  };
}
