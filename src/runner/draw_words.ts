import { DRAW } from "../../kernels/step.ts";
import type { DrawRequest } from "../core/batch.ts";
import type { TokenId } from "../core/ids.ts";
import { MIN_TEMPERATURE } from "../core/sampling_params.ts";
import { f32ToBits } from "../base/float_bits.ts";

/** A draw from the logits of a row of a step, or a token that is taken in place of one. */
export interface RowDraw {
  readonly draw: DrawRequest;
  readonly row: number;
  /** Absent: the token is drawn. */
  readonly forced?: TokenId;
}

/** Writes a draw without its adjustment, `DRAW_WORDS` words from `at` on. */
export function putDraw(
  words: Uint32Array,
  at: number,
  { draw, row, forced }: RowDraw,
): void {
  words[at + DRAW.row] = row;
  words[at + DRAW.temperature] = f32ToBits(
    draw.temperature < MIN_TEMPERATURE ? 0 : draw.temperature,
  );
  words[at + DRAW.topK] = draw.topK;
  words[at + DRAW.topP] = normalF32Bits(draw.topP);
  words[at + DRAW.minP] = normalF32Bits(draw.minP);
  words[at + DRAW.seedLow] = draw.seed % 2 ** 32;
  words[at + DRAW.seedHigh] = Math.floor(draw.seed / 2 ** 32);
  words[at + DRAW.outputIndex] = draw.outputIndex;
  words[at + DRAW.numLogprobs] = draw.numLogprobs === undefined ? 0 : draw.numLogprobs + 1;
  words[at + DRAW.adjust] = 0;
  words[at + DRAW.forced] = forced === undefined ? 0 : forced + 1;
}

/** Smallest f32 that every device keeps: it may take what is nearer to 0 for 0, or not. */
const MIN_NORMAL = 2 ** -126;

/** The f32 nearest to a probability, as bits; 0 in place of a subnormal one. */
function normalF32Bits(value: number): number {
  return value < MIN_NORMAL ? 0 : f32ToBits(value);
}
