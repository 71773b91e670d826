import { SAMPLE } from "../../kernels/step.ts";
import type { SampleRequest } from "../core/batch.ts";
import type { TokenId } from "../core/ids.ts";
import { MIN_TEMPERATURE } from "../core/sampling_params.ts";
import { f32ToBits } from "../base/float_bits.ts";

/** A draw from the logits of a row of a step, or a token that is taken in place of one. */
export interface RowSample {
  readonly sample: SampleRequest;
  readonly row: number;
  /** Absent: the token is drawn. */
  readonly forced?: TokenId;
}

/** Writes a draw without its adjustment, `SAMPLE_WORDS` words from `at` on. */
export function putSample(
  words: Uint32Array,
  at: number,
  { sample, row, forced }: RowSample,
): void {
  words[at + SAMPLE.row] = row;
  words[at + SAMPLE.temperature] = f32ToBits(
    sample.temperature < MIN_TEMPERATURE ? 0 : sample.temperature,
  );
  words[at + SAMPLE.topK] = sample.topK;
  words[at + SAMPLE.topP] = normalF32Bits(sample.topP);
  words[at + SAMPLE.minP] = normalF32Bits(sample.minP);
  words[at + SAMPLE.seedLow] = sample.seed % 2 ** 32;
  words[at + SAMPLE.seedHigh] = Math.floor(sample.seed / 2 ** 32);
  words[at + SAMPLE.outputIndex] = sample.outputIndex;
  words[at + SAMPLE.numLogprobs] = sample.numLogprobs === undefined ? 0 : sample.numLogprobs + 1;
  words[at + SAMPLE.adjust] = 0;
  words[at + SAMPLE.forced] = forced === undefined ? 0 : forced + 1;
}

/** Smallest f32 that every device keeps: it may take what is nearer to 0 for 0, or not. */
const MIN_NORMAL = 2 ** -126;

/** The f32 nearest to a probability, as bits; 0 in place of a subnormal one. */
function normalF32Bits(value: number): number {
  return value < MIN_NORMAL ? 0 : f32ToBits(value);
}
