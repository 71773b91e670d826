import type { PreTokenizer } from "@huggingface/tokenizers";
import { byteOfCharacter } from "./token_bytes.ts";
import type { WordCuts } from "./word_cuts.ts";

/** Text that is split into words at once, UTF-16 code units. */
export const SPAN_CHARS = 16_384;

/**
 * Text that must follow a split point before it counts: rules look ahead over a run of white space,
 * and a word may continue beyond the span.
 */
const LOOKAHEAD_CHARS = 1024;

/** The result of one span. */
interface Split {
  /** Words in the form that the model takes. */
  readonly words: readonly string[];
  /** The part of the span that they cover: the next one begins behind it. */
  readonly numChars: number;
}

/**
 * Splits a text into words span by span. A span ends at the last split point that the
 * pre-tokenizer sets well before its end, and the next begins there, so that the words are those of
 * the whole text. A single word as long as a span ends at an exact cut ({@link WordCuts}) or,
 * where there is none near the span's end, just there.
 */
export class TextSpans {
  readonly #preTokenizer: PreTokenizer | null;
  readonly #cuts: WordCuts | undefined;
  readonly #isByteLevel: boolean;
  /** Whether a space is put before each text that has none, so that spans must begin with one. */
  readonly #prefixes: boolean;

  constructor(preTokenizer: PreTokenizer | null, cuts: WordCuts | undefined, file: unknown) {
    this.#preTokenizer = preTokenizer;
    this.#cuts = cuts;
    const { pre_tokenizer: rules } = file as { readonly pre_tokenizer?: unknown };
    this.#isByteLevel = (JSON.stringify(rules) ?? "").includes('"ByteLevel"');
    this.#prefixes = preTokenizer !== null && lengthOf(this.#split("x", {}), false) > 1;
  }

  /** @param sectionIndex the section's place in its text, only for its first span. */
  read(
    span: string,
    { isLast, sectionIndex }: { readonly isLast: boolean; readonly sectionIndex?: number },
  ): Split {
    const words = this.#split(span, sectionIndex === undefined ? {} : { sectionIndex });
    if (isLast) return { words, numChars: span.length };
    const surplus = lengthOf(words, this.#isByteLevel) - span.length;
    // Words that do not spell the span's text give no position in it.
    if (surplus !== 0 && surplus !== 1) return { words, numChars: span.length };
    return this.#atSplit(words, span) ?? this.#inLongWord(words, span) ??
      { words, numChars: span.length };
  }

  #split(text: string, { sectionIndex }: { readonly sectionIndex?: number }): string[] {
    if (this.#preTokenizer === null) return [text];
    const options = sectionIndex === undefined ? {} : { section_index: sectionIndex };
    return this.#preTokenizer.pre_tokenize(text, options);
  }

  /** The span up to the last split point with enough text behind it. */
  #atSplit(words: readonly string[], span: string): Split | undefined {
    let numBehind = 0;
    for (let n = words.length - 1; n > 0; n--) {
      numBehind += lengthOf([words[n]!], this.#isByteLevel);
      const numChars = span.length - numBehind;
      if (numBehind >= LOOKAHEAD_CHARS && this.#mayBeginAt(span, numChars)) {
        return { words: words.slice(0, n), numChars };
      }
    }
    return undefined;
  }

  /** The span up to a cut near the end of its first word, which is almost all of it. */
  #inLongWord(words: readonly string[], span: string): Split | undefined {
    const word = words[0]!;
    const numBehind = lengthOf(words.slice(1), this.#isByteLevel);
    if (numBehind >= LOOKAHEAD_CHARS) return undefined;
    const placeOf = (cut: number) =>
      span.length - numBehind - lengthOf([word.slice(cut)], this.#isByteLevel);
    const cut = this.#cuts?.lastCut(
      word,
      word.length - LOOKAHEAD_CHARS,
      (cut) => !this.#isInCharacter(word, cut) && this.#mayBeginAt(span, placeOf(cut)),
    );
    return cut === undefined
      ? { words: [word], numChars: span.length - numBehind }
      : { words: [word.slice(0, cut)], numChars: placeOf(cut) };
  }

  /** Whether a byte-level word has a character's later bytes at `place`. */
  #isInCharacter(word: string, place: number): boolean {
    return this.#isByteLevel && ((byteOfCharacter(word[place]!) ?? 0) & 0xc0) === 0x80;
  }

  #mayBeginAt(span: string, place: number): boolean {
    return place > 0 && (!this.#prefixes || span[place] === " ");
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
