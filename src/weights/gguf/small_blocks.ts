import { E2M1, e8m0Value } from "../mxfp4_codes.ts";
import { type DecodeBlock, halfAt, signedAt } from "./block.ts";

/**
 * Formats with blocks of 32 numbers, as GGUF defines them. In those of 4 and 5 bits, byte j of the
 * codes has that of number j in its low half and that of number j + 16 in its high half. Scales and
 * minima are f16.
 */
const HALF = 16;

/** Scale; codes of 4 bits, less 8. */
export const decodeQ4_0: DecodeBlock = (bytes, at, into, to) => {
  const scale = halfAt(bytes, at);
  for (let j = 0; j < HALF; j++) {
    const pair = bytes[at + 2 + j]!;
    into[to + j] = scale * ((pair & 15) - 8);
    into[to + j + HALF] = scale * ((pair >> 4) - 8);
  }
};

/** Scale, minimum; codes of 4 bits. */
export const decodeQ4_1: DecodeBlock = (bytes, at, into, to) => {
  const scale = halfAt(bytes, at);
  const minimum = halfAt(bytes, at + 2);
  for (let j = 0; j < HALF; j++) {
    const pair = bytes[at + 4 + j]!;
    into[to + j] = scale * (pair & 15) + minimum;
    into[to + j + HALF] = scale * (pair >> 4) + minimum;
  }
};

/** Scale; the fifth bits of all codes, bit j of 32 that of number j; the others. Codes less 16. */
export const decodeQ5_0: DecodeBlock = (bytes, at, into, to) => {
  const scale = halfAt(bytes, at);
  for (let j = 0; j < HALF; j++) {
    const pair = bytes[at + 6 + j]!;
    into[to + j] = scale * ((pair & 15) + 16 * bitAt(bytes, at + 2, j) - 16);
    into[to + j + HALF] = scale * ((pair >> 4) + 16 * bitAt(bytes, at + 2, j + HALF) - 16);
  }
};

/** Scale, minimum; the fifth bits of all codes; the others. */
export const decodeQ5_1: DecodeBlock = (bytes, at, into, to) => {
  const scale = halfAt(bytes, at);
  const minimum = halfAt(bytes, at + 2);
  for (let j = 0; j < HALF; j++) {
    const pair = bytes[at + 8 + j]!;
    into[to + j] = scale * ((pair & 15) + 16 * bitAt(bytes, at + 4, j)) + minimum;
    into[to + j + HALF] = scale * ((pair >> 4) + 16 * bitAt(bytes, at + 4, j + HALF)) + minimum;
  }
};

/** Scale; codes of 8 bits in two's complement. */
export const decodeQ8_0: DecodeBlock = (bytes, at, into, to) => {
  const scale = halfAt(bytes, at);
  for (let j = 0; j < 32; j++) into[to + j] = scale * signedAt(bytes, at + 2 + j);
};

/** The 16 multiples of the scale that IQ4_NL and IQ4_XS choose from: denser around zero. */
export const IQ4_LEVELS = Int8Array.of(
  ...[-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113],
);

/** Scale; codes of 4 bits, which number the levels. */
export const decodeIQ4_NL: DecodeBlock = (bytes, at, into, to) => {
  const scale = halfAt(bytes, at);
  for (let j = 0; j < HALF; j++) {
    const pair = bytes[at + 2 + j]!;
    into[to + j] = scale * IQ4_LEVELS[pair & 15]!;
    into[to + j + HALF] = scale * IQ4_LEVELS[pair >> 4]!;
  }
};

/** Scale of E8M0; codes of E2M1 (`mxfp4_codes.ts`). */
export const decodeMXFP4: DecodeBlock = (bytes, at, into, to) => {
  const scale = e8m0Value(bytes[at]!);
  for (let j = 0; j < HALF; j++) {
    const pair = bytes[at + 1 + j]!;
    into[to + j] = scale * E2M1[pair & 15]!;
    into[to + j + HALF] = scale * E2M1[pair >> 4]!;
  }
};

/** Bit `index` of the little-endian word that begins at byte `at`. */
function bitAt(bytes: Uint8Array, at: number, index: number): number {
  return (bytes[at + (index >> 3)]! >> (index & 7)) & 1;
}
