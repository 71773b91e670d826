import type { DeviceBuffer, KernelCall } from "../../src/device/kernel.ts";
import { adjustLogitsCall } from "./adjust_logits.ts";
import { sampleSegmentsCall } from "./sample_segments.ts";
import { sampleTokensCall } from "./sample_tokens.ts";
import { SEGMENT_PLANES, segmentsOf } from "./segments.ts";
import type { StepDims } from "../step.ts";
import { topLogprobsCall } from "./top_logprobs.ts";
import { MAX_LANES, type Tuning } from "../tuning/tuning.ts";

type SamplingTuning = Pick<Tuning, "sampleLanes" | "segmentLanes" | "fusedVocabSize">;
type SamplingBuffers = Readonly<Record<"step" | "logits" | "segments" | "sampled", DeviceBuffer>>;

/** Words of `segments` that one row of `vocabSize` logits needs. */
export function segmentsWords(vocabSize: number, tuning: SamplingTuning): number {
  return SEGMENT_PLANES * segmentsOf(vocabSize, tuning.segmentLanes).Z;
}

/**
 * Draws every token of the step: `logits` f32 [R, V] in, `sampled` u32 [R, SAMPLED_WORDS] out.
 *
 * Reports the model's own distribution, then adjusts the logits, then draws. A large vocabulary is
 * first scanned by many workgroups per row, a small one by the workgroup that draws. Steps without
 * reports or without adjustments skip those calls.
 */
export function samplingCalls(
  vocabSize: number,
  buffers: SamplingBuffers,
  tuning: SamplingTuning,
): KernelCall<StepDims>[] {
  const segments = segmentsOf(vocabSize, tuning.segmentLanes);
  const last = {
    ...segments,
    LANES: lanesOf(vocabSize, tuning),
    FUSED: vocabSize <= tuning.fusedVocabSize,
  };
  const first = (REPORT: boolean) =>
    last.FUSED ? [] : [sampleSegmentsCall({ ...segments, REPORT }, buffers)];
  return [
    ...first(true),
    topLogprobsCall(last, buffers),
    adjustLogitsCall({ V: vocabSize, LANES: tuning.segmentLanes }, buffers),
    ...first(false),
    sampleTokensCall(last, buffers),
  ];
}

/**
 * Lanes that share a row in the last phase. A lane looks at no more than 1,024 logits per pass: the
 * software adapter ends all loops of a lane after 65,535 rounds together, and a draw may take some
 * forty passes.
 */
function lanesOf(vocabSize: number, { sampleLanes }: SamplingTuning): number {
  const needed = 2 ** Math.ceil(Math.log2(vocabSize / 1024));
  return Math.min(Math.max(sampleLanes, needed), MAX_LANES);
}
