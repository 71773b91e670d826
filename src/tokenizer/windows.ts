import type { PreTokenizer } from "@huggingface/tokenizers";
import { byteOfCharacter } from "./token_bytes.ts";
import type { WordCuts } from "./word_cuts.ts";

/** Text that is split into words at once, UTF-16 code units. */
export const WINDOW_CHARS = 16_384;

/**
 * Text that must follow a split point before it counts: rules look ahead over a run of white space,
 * and a word may continue beyond the window.
 */
const LOOKAHEAD_CHARS = 1024;

/** The result of one window. */
interface Split {
  /** Words in the form that the model takes. */
  readonly words: readonly string[];
  /** The part of the window that they cover: the next one begins behind it. */
  readonly numChars: number;
}

/**
 * Splits a text into words window by window. A window ends at the last split point that the
 * pre-tokenizer sets well before its end, and the next begins there, so that the words are those of
 * the whole text. A single word as long as a window ends at an exact cut ({@link WordCuts}) or,
 * where there is none near the window's end, just there.
 */
export class Windows {
  readonly #preTokenizer: PreTokenizer | null;
  readonly #cuts: WordCuts | undefined;
  readonly #isByteLevel: boolean;
  /** Whether a space is put before each text that has none, so that windows must begin with one. */
  readonly #prefixes: boolean;

  constructor(preTokenizer: PreTokenizer | null, cuts: WordCuts | undefined, file: unknown) {
    this.#preTokenizer = preTokenizer;
    this.#cuts = cuts;
    const { pre_tokenizer: rules } = file as { readonly pre_tokenizer?: unknown };
    this.#isByteLevel = (JSON.stringify(rules) ?? "").includes('"ByteLevel"');
    this.#prefixes = preTokenizer !== null && lengthOf(this.#split("x", {}), false) > 1;
  }

  /** @param sectionIndex the section's place in its text, only for its first window. */
  read(
    window: string,
    { isLast, sectionIndex }: { readonly isLast: boolean; readonly sectionIndex?: number },
  ): Split {
    const words = this.#split(window, sectionIndex === undefined ? {} : { sectionIndex });
    if (isLast) return { words, numChars: window.length };
    const surplus = lengthOf(words, this.#isByteLevel) - window.length;
    // Words that do not spell the window's text give no position in it.
    if (surplus !== 0 && surplus !== 1) return { words, numChars: window.length };
    return this.#atSplit(words, window) ?? this.#inLongWord(words, window) ??
      { words, numChars: window.length };
  }

  #split(text: string, { sectionIndex }: { readonly sectionIndex?: number }): string[] {
    if (this.#preTokenizer === null) return [text];
    const options = sectionIndex === undefined ? {} : { section_index: sectionIndex };
    return this.#preTokenizer.pre_tokenize(text, options);
  }

  /** The window up to the last split point with enough text behind it. */
  #atSplit(words: readonly string[], window: string): Split | undefined {
    let numBehind = 0;
    for (let n = words.length - 1; n > 0; n--) {
      numBehind += lengthOf([words[n]!], this.#isByteLevel);
      const numChars = window.length - numBehind;
      if (numBehind >= LOOKAHEAD_CHARS && this.#mayBeginAt(window, numChars)) {
        return { words: words.slice(0, n), numChars };
      }
    }
    return undefined;
  }

  /** The window up to a cut near the end of its first word, which is almost all of it. */
  #inLongWord(words: readonly string[], window: string): Split | undefined {
    const word = words[0]!;
    const numBehind = lengthOf(words.slice(1), this.#isByteLevel);
    if (numBehind >= LOOKAHEAD_CHARS) return undefined;
    const placeOf = (cut: number) =>
      window.length - numBehind - lengthOf([word.slice(cut)], this.#isByteLevel);
    const cut = this.#cuts?.lastCut(
      word,
      word.length - LOOKAHEAD_CHARS,
      (cut) => !this.#isInCharacter(word, cut) && this.#mayBeginAt(window, placeOf(cut)),
    );
    return cut === undefined
      ? { words: [word], numChars: window.length - numBehind }
      : { words: [word.slice(0, cut)], numChars: placeOf(cut) };
  }

  /** Whether a byte-level word has a character's later bytes at `place`. */
  #isInCharacter(word: string, place: number): boolean {
    return this.#isByteLevel && ((byteOfCharacter(word[place]!) ?? 0) & 0xc0) === 0x80;
  }

  #mayBeginAt(window: string, place: number): boolean {
    return place > 0 && (!this.#prefixes || window[place] === " ");
  }
}

/** UTF-16 code units of the text that words stand for. */
function lengthOf(words: readonly string[], isByteLevel: boolean): number {
  let length = 0;
  for (const word of words) {
    if (!isByteLevel) {
      length += word.length;
      continue;
    }
    for (let i = 0; i < word.length; i++) {
      const byte = byteOfCharacter(word[i]!) ?? 0;
      // Each character's first byte counts; a first byte of four stands for a surrogate pair.
      if ((byte & 0xc0) !== 0x80) length += byte >= 0xf0 ? 2 : 1;
    }
  }
  return length;
}
