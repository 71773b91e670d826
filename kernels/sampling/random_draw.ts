import { DRAW } from "../step.ts";

/**
 * The Gumbel noise of a token under a draw's seed and output index; largest `z + noise` is drawn.
 */
export function gumbel(draw: Uint32Array, token: number): number {
  return -Math.log(-Math.log(uniformDraw(draw, token)));
}

/** pcg4d of (seed, output index, token), mapped to (0, 1). */
function uniformDraw(draw: Uint32Array, token: number): number {
  const seeds = [
    draw[DRAW.seedLow]!,
    draw[DRAW.seedHigh]!,
    draw[DRAW.outputIndex]!,
    token,
  ];
  const v = Uint32Array.from(seeds, (word) => Math.imul(word, 1664525) + 1013904223);
  const mix = (to: number, a: number, b: number) => v[to]! += Math.imul(v[a]!, v[b]!);
  const round = () => [mix(0, 1, 3), mix(1, 2, 0), mix(2, 0, 1), mix(3, 1, 2)];
  round();
  for (let i = 0; i < 4; i++) v[i]! ^= v[i]! >>> 16;
  round();
  return ((v[0]! >>> 9) + 0.5) / 8388608;
}
