/** More than any Unicode code point. */
const CODE_POINTS = 2 ** 21;

/** Shortest part, where there is a choice: a part costs more than a character. */
const MIN_PART_CHARS = 4;

/**
 * Where a word may be cut so that byte-pair encoding makes the same tokens of its parts.
 *
 * A merge across a cut joins a token that ends with the character before it and one that begins
 * with the character behind it. Where no merge of the vocabulary does that for the two characters,
 * the parts never meet, and encoding them apart is exact. SentencePiece vocabularies never join a
 * character with the mark of the next word's beginning, so whole texts are cut at their words.
 */
export class WordCuts {
  readonly #joined: ReadonlySet<number>;

  /** @param merges pairs of tokens that become one, all of them. */
  constructor(merges: Iterable<readonly [string, string]>) {
    const joined = new Set<number>();
    for (const [left, right] of merges) {
      joined.add(keyOf(lastCodePoint(left), right.codePointAt(0) ?? 0));
    }
    this.#joined = joined;
  }

  /** `word` in parts that are encoded to the same tokens apart as together. */
  parts(word: string): string[] {
    const parts: string[] = [];
    let start = 0;
    let before = 0;
    for (let i = 0; i < word.length;) {
      const code = word.codePointAt(i)!;
      const isLong = i - start >= MIN_PART_CHARS;
      if (isLong && !this.#joined.has(keyOf(before, code))) {
        parts.push(word.slice(start, i));
        start = i;
      }
      before = code;
      i += code > 0xffff ? 2 : 1;
    }
    parts.push(word.slice(start));
    return parts;
  }

  /** The last place from `from` on, in UTF-16 code units, where a cut is exact and `accepts` it. */
  lastCut(word: string, from: number, accepts: (place: number) => boolean): number | undefined {
    for (let i = word.length - 1; i >= Math.max(from, 1); i--) {
      if (isLowSurrogate(word.charCodeAt(i))) continue;
      const before = lastCodePoint(word.slice(Math.max(0, i - 2), i));
      if (!this.#joined.has(keyOf(before, word.codePointAt(i)!)) && accepts(i)) return i;
    }
    return undefined;
  }
}

function keyOf(before: number, behind: number): number {
  return before * CODE_POINTS + behind;
}

function lastCodePoint(text: string): number {
  const pair = text.length > 1 ? text.codePointAt(text.length - 2)! : 0;
  return pair > 0xffff ? pair : text.charCodeAt(text.length - 1);
}

/** Whether a code unit is the second half of a character. */
export function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code <= 0xdfff;
}
