/** The part of a vocabulary that detokenizing needs. */
export interface TokenTable {
  /** Exact bytes of a token; empty for an id outside the vocabulary. */
  tokenBytes(id: number): Uint8Array;
  /** Whether a token is control, not text, such as an end-of-turn mark. */
  isSpecial(id: number): boolean;
  /** Whether one space at the start of a text belongs to the encoding, not to the text. */
  readonly dropsLeadingSpace: boolean;
}

/** How a run of ids becomes text. */
export interface DetokenizeOptions {
  /** Leaves special tokens out. */
  readonly skipSpecialTokens?: boolean;
  /**
   * The ids continue a text, so a space at their start is kept. Only SentencePiece vocabularies
   * mark the start of a text with a space; for others this changes nothing.
   */
  readonly continuesText?: boolean;
}

const SPACE = 0x20;
const NO_BYTES = new Uint8Array();

/**
 * Ids to text, piece by piece, as a sequence grows.
 *
 * The pieces joined are exactly the text of all ids at once, however they are split: tokens are
 * bytes that do not depend on their neighbours, so only a UTF-8 character still incomplete at the
 * end (at most 3 bytes) is kept back. Each push costs O(its bytes). Ill-formed bytes become U+FFFD
 * as the WHATWG Encoding Standard says.
 */
export class Detokenizer {
  readonly #table: TokenTable;
  readonly #skipSpecialTokens: boolean;
  #dropsSpace: boolean;
  /** First bytes of a character whose rest has not come yet. */
  #pending: Uint8Array = NO_BYTES;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(table: TokenTable, options: DetokenizeOptions = {}) {
    this.#table = table;
    this.#skipSpecialTokens = options.skipSpecialTokens ?? false;
    this.#dropsSpace = table.dropsLeadingSpace && !(options.continuesText ?? false);
  }

  /** The text that `ids` complete; may be empty. */
  push(ids: readonly number[] | Uint32Array): string {
    const parts: Uint8Array[] = [this.#pending];
    for (const id of ids) {
      if (this.#skipSpecialTokens && this.#table.isSpecial(id)) continue;
      parts.push(this.#withoutLeadingSpace(this.#table.tokenBytes(id)));
    }
    const bytes = joinBytes(parts);
    const complete = completeBytes(bytes);
    this.#pending = bytes.slice(complete);
    return this.#decoder.decode(bytes.subarray(0, complete));
  }

  /** The remaining text at the end of a sequence: empty, or U+FFFD for an incomplete character. */
  flush(): string {
    const rest = this.#pending;
    this.#pending = NO_BYTES;
    return this.#decoder.decode(rest);
  }

  #withoutLeadingSpace(bytes: Uint8Array): Uint8Array {
    if (!this.#dropsSpace || bytes.byteLength === 0) return bytes;
    this.#dropsSpace = false;
    return bytes[0] === SPACE ? bytes.subarray(1) : bytes;
  }
}

/** The parts one after the other. */
export function joinBytes(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.byteLength;
  }
  return whole;
}

/**
 * Length of `bytes` without an unfinished character at its end. To cut before a lead byte never
 * changes the result, since no character goes on across one.
 */
function completeBytes(bytes: Uint8Array): number {
  const { length } = bytes;
  for (let back = 1; back <= Math.min(3, length); back++) {
    const byte = bytes[length - back]!;
    if (byte < 0x80) return length;
    if (byte >= 0xc0) return back < characterBytes(byte) ? length - back : length;
  }
  return length;
}

/** Bytes of the character that a lead byte begins (RFC 3629, section 3). */
function characterBytes(lead: number): number {
  if (lead < 0xe0) return 2;
  return lead < 0xf0 ? 3 : 4;
}
