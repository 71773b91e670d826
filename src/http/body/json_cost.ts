/** Cost of parsing and checking by character, in units of an array's element, some 50 ns. */
const COSTS: Readonly<Record<string, number>> = { ",": 1, "[": 4, "{": 8, ":": 16 };

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

const COST_OF_BYTE = Uint8Array.from(
  { length: 256 },
  (_, byte) => COSTS[String.fromCharCode(byte)] ?? 0,
);

/**
 * Adds up the cost of parsing a JSON text while its bytes arrive, from the characters outside of
 * strings: 8 MiB can hold millions of values. Some 2 ns per byte.
 */
export class JsonCost {
  #total = 0;
  #isInString = false;
  #isEscaped = false;

  /** Units so far. */
  get total(): number {
    return this.#total;
  }

  /** Takes the next bytes of the text, UTF-8. */
  add(bytes: Uint8Array): void {
    let total = this.#total;
    let isInString = this.#isInString;
    let isEscaped = this.#isEscaped;
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i]!;
      if (!isInString) {
        total += COST_OF_BYTE[byte]!;
        isInString = byte === QUOTE;
      } else if (isEscaped) isEscaped = false;
      else if (byte === BACKSLASH) isEscaped = true;
      else isInString = byte !== QUOTE;
    }
    this.#total = total;
    this.#isInString = isInString;
    this.#isEscaped = isEscaped;
  }
}
