import { DRAW } from "../step.ts";

/**
 * The Gumbel noise of a token under a draw's seed and output index; largest `z + noise` is drawn.
 */
export function gumbel(draw: Uint32Array, token: number): number {
  return -Math.log(-Math.log(uniformDraw(draw, token)));
}

/** pcg4d of (seed, output index, token), mapped to (0, 1). */
function uniformDraw(draw: Uint32Array, token: number): number {
  let a = begin(draw[DRAW.seedLow]!);
  let b = begin(draw[DRAW.seedHigh]!);
  let c = begin(draw[DRAW.outputIndex]!);
  let d = begin(token);
  a = a + Math.imul(b, d) | 0;
  b = b + Math.imul(c, a) | 0;
  c = c + Math.imul(a, b) | 0;
  d = d + Math.imul(b, c) | 0;
  a ^= a >>> 16;
  b ^= b >>> 16;
  d ^= d >>> 16;
  // Of the second round, the first word alone is drawn from.
  a = a + Math.imul(b, d) | 0;
  return ((a >>> 9) + 0.5) / 8388608;
}

function begin(word: number): number {
  return Math.imul(word, 1664525) + 1013904223 | 0;
}
