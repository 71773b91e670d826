import { type DecodeBlock, halfAt } from "./block.ts";

/** Formats with blocks of 256 numbers that are -1, 0 or 1 times an f16 scale, as GGUF has them. */
const BLOCK = 256;

/** TQ2_0: codes of 2 bits, less 1 [64]; scale. Bit pairs hold numbers 32 apart, as in Q2_K. */
export const decodeTQ2_0: DecodeBlock = (bytes, at, into, to) => {
  const scale = halfAt(bytes, at + 64);
  for (let i = 0; i < BLOCK; i++) {
    const code = (bytes[at + 32 * (i >> 7) + (i & 31)]! >> (2 * ((i >> 5) & 3))) & 3;
    into[to + i] = scale * (code - 1);
  }
};

/** The runs of bytes in TQ1_0: byte j of a run holds numbers `width` apart, `trits` of them. */
const RUNS = [
  { byte: 0, width: 32, trits: 5 },
  { byte: 32, width: 16, trits: 5 },
  { byte: 48, width: 4, trits: 4 },
];

/**
 * TQ1_0: digits of base 3, less 1 [52]; scale. A byte is a fraction of 256 in base 3, rounded up,
 * so that its next digit is the whole part of three times it and the fraction goes on.
 */
export const decodeTQ1_0: DecodeBlock = (bytes, at, into, to) => {
  const scale = halfAt(bytes, at + 52);
  let next = to;
  for (const { byte, width, trits } of RUNS) {
    for (let trit = 0; trit < trits; trit++) {
      const shift = 3 ** trit;
      for (let j = 0; j < width; j++) {
        const fraction = (bytes[at + byte + j]! * shift) & 255;
        into[next++] = scale * (((3 * fraction) >> 8) - 1);
      }
    }
  }
};
