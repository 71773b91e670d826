import { ceilDiv } from "../../src/base/math.ts";
import { argsWgsl } from "../../src/device/kernel.ts";
import { logitRangeWgsl } from "./logit_range.ts";
import source from "./_segments.wgsl" with { type: "text" };
import { stepWgsl, wgslConstants } from "../step.ts";

/** How rows of `V` logits are cut into `Z` segments (`_segments.wgsl`). */
export type Segments = Readonly<{ V: number; Z: number; SEGMENT: number; SEGMENT_LANES: number }>;

/** The size of the vocabulary does not change what is compiled. */
export const SEGMENT_ARGS = ["V", "Z", "SEGMENT"] as const;

/** The summary of each segment: planes of `segments`, u32 [R, SEGMENT_PLANES, Z]. */
export const SEGMENT_PLANE = { max: 0, token: 1, weight: 2, score: 3 } as const;
export const SEGMENT_PLANES = 4;

/**
 * The token of a segment, or of a row, in which none can be drawn: all are banned, or it has
 * overflowed.
 */
export const NO_TOKEN = 0xffffffff;

/**
 * The step's constants, the arguments, the planes of `segments` and the shared functions, before a
 * kernel's source.
 */
export const segmentsWgsl: string = stepWgsl + argsWgsl(SEGMENT_ARGS) + logitRangeWgsl +
  wgslConstants("SEGMENT", { ...SEGMENT_PLANE, planes: SEGMENT_PLANES }).join("\n") + "\n" +
  source;

/**
 * Cuts rows of `V` logits for workgroups of `segmentLanes` lanes.
 *
 * There are about as many segments per lane as logits per segment, so that neither finding a
 * segment nor searching it dominates.
 */
export function segmentsOf(V: number, segmentLanes: number): Segments {
  const balanced = 2 ** Math.round(Math.log2(V / segmentLanes) / 2);
  const SEGMENT = Math.min(Math.max(balanced, 16), 128);
  const Z = ceilDiv(V, segmentLanes * SEGMENT) * segmentLanes;
  return { V, Z, SEGMENT, SEGMENT_LANES: segmentLanes };
}

/** The tokens of segment `s`, ascending. */
export function tokensOf(s: number, { V, SEGMENT, SEGMENT_LANES }: Segments): number[] {
  const first = Math.floor(s / SEGMENT_LANES) * SEGMENT_LANES * SEGMENT + s % SEGMENT_LANES;
  const count = Math.max(0, Math.min(SEGMENT, ceilDiv(V - first, SEGMENT_LANES)));
  return Array.from({ length: count }, (_, i) => first + i * SEGMENT_LANES);
}
