import { alignDown, ceilDiv } from "../../base/math.ts";

/** What every kind of cache group states about its blocks. */
interface GroupBase {
  /** Names the group in reports and errors, such as `window`. */
  readonly name: string;
  /** Token positions per block; for a state space group, positions between two snapshots. */
  readonly tokensPerBlock: number;
  /**
   * Bytes of one block, all layers of the group together ({@link stateBytes}).
   */
  readonly blockBytes: number;
}

/** Layers whose queries read every earlier position. */
export interface FullAttentionSpec extends GroupBase {
  readonly kind: "full";
}

/**
 * Layers whose query at position `p` reads `[p - windowTokens + 1, p]`, and the first
 * `numSinkTokens` positions for ever where given (attention sinks, Xiao et al. 2023,
 * arXiv:2309.17453).
 */
export interface SlidingWindowSpec extends GroupBase {
  readonly kind: "sliding-window";
  readonly windowTokens: number;
  readonly numSinkTokens?: number;
}

/** Layers whose query at `p` reads `[p - p mod chunkTokens, p]`: nothing left of its own chunk. */
export interface ChunkedLocalSpec extends GroupBase {
  readonly kind: "chunked-local";
  readonly chunkTokens: number;
}

/** Layers with one state per sequence, overwritten in place; a block holds one such state. */
export interface StateSpaceSpec extends GroupBase {
  readonly kind: "state-space";
}

/**
 * Blocks that hold an encoder's positions, not the sequence's: their number is set by the input.
 * They live as long as the sequence (keys and values for cross-attention) or until the placeholders
 * they fill are settled (embeddings).
 */
export interface EncoderSpec extends GroupBase {
  readonly kind: "encoder";
  readonly lifetime: "sequence" | "placeholders";
}

/** Layers with the same cache kind and geometry, which share block tables. */
export type GroupSpec =
  | FullAttentionSpec
  | SlidingWindowSpec
  | ChunkedLocalSpec
  | StateSpaceSpec
  | EncoderSpec;

/** Indices into a sequence's table: `[0, numSinkBlocks)` and `[start, end)`, never overlapping. */
export interface LiveBlocks {
  readonly numSinkBlocks: number;
  readonly start: number;
  readonly end: number;
}

/**
 * The blocks a sequence still reads once `numTokens` positions are settled, the one being filled
 * included. All others are dead and may go back to the pool.
 *
 * For a `numTokens` on a block boundary these are also exactly the cached blocks that a hit of that
 * length needs: whatever goes on from there reads the same. Encoder blocks are named by their
 * content and not by the sequence's positions, so there are none here.
 */
export function liveBlocks(spec: GroupSpec, numTokens: number): LiveBlocks {
  const end = ceilDiv(numTokens, spec.tokensPerBlock);
  switch (spec.kind) {
    case "full":
      return { numSinkBlocks: 0, start: 0, end };
    case "sliding-window": {
      const numDeadTokens = Math.max(0, numTokens - spec.windowTokens + 1);
      const start = Math.floor(numDeadTokens / spec.tokensPerBlock);
      const numSinkBlocks = ceilDiv(spec.numSinkTokens ?? 0, spec.tokensPerBlock);
      return { numSinkBlocks: Math.min(numSinkBlocks, start), start, end };
    }
    case "chunked-local": {
      const chunkStart = alignDown(numTokens, spec.chunkTokens);
      return { numSinkBlocks: 0, start: Math.floor(chunkStart / spec.tokensPerBlock), end };
    }
    case "state-space":
      return { numSinkBlocks: 0, start: Math.max(0, end - 1), end };
    case "encoder":
      return { numSinkBlocks: 0, start: 0, end: 0 };
  }
}

/** How many blocks {@link liveBlocks} names. */
export function numLiveBlocks({ numSinkBlocks, start, end }: LiveBlocks): number {
  return numSinkBlocks + end - start;
}

/**
 * Blocks to add to a table so that a sequence grows from `numTokens` to `newNumTokens` positions.
 */
export function blocksToGrow(spec: GroupSpec, numTokens: number, newNumTokens: number): number {
  if (spec.kind === "encoder") return 0;
  if (spec.kind === "state-space") return numTokens === 0 && newNumTokens > 0 ? 1 : 0;
  const numBlocks = ceilDiv(newNumTokens, spec.tokensPerBlock);
  return Math.max(0, numBlocks - ceilDiv(numTokens, spec.tokensPerBlock));
}

/**
 * Most blocks that a sequence of up to `numTokens` positions ever holds at once, if dead ones are
 * freed as they settle and at most `maxInFlightTokens` positions are in flight. Encoder blocks are
 * counted by {@link numEncoderBlocks}.
 */
export function maxLiveBlocks(
  spec: GroupSpec,
  numTokens: number,
  maxInFlightTokens: number,
): number {
  const numBlocks = ceilDiv(numTokens, spec.tokensPerBlock);
  switch (spec.kind) {
    case "full":
      return numBlocks;
    case "sliding-window": {
      // One block more, since the window's first position may be the last of its block.
      const spanTokens = spec.windowTokens - 1 + maxInFlightTokens;
      const numSinkBlocks = ceilDiv(spec.numSinkTokens ?? 0, spec.tokensPerBlock);
      return Math.min(numBlocks, numSinkBlocks + ceilDiv(spanTokens, spec.tokensPerBlock) + 1);
    }
    case "chunked-local": {
      const startsInside = spec.chunkTokens % spec.tokensPerBlock === 0 ? 0 : 1;
      const spanTokens = spec.chunkTokens + maxInFlightTokens;
      return Math.min(numBlocks, ceilDiv(spanTokens, spec.tokensPerBlock) + startsInside);
    }
    case "state-space":
      return Math.min(numBlocks, 1);
    case "encoder":
      return 0;
  }
}

/** Blocks that an encoder's output of `numEncoderTokens` positions takes; none takes none. */
export function numEncoderBlocks(spec: EncoderSpec, numEncoderTokens: number): number {
  return ceilDiv(numEncoderTokens, spec.tokensPerBlock);
}

/** What decides the size of one sequence's state in the layers of a state space group. */
export interface StateGeometry {
  readonly numLayers: number;
  /** Elements of the recurrent state in one layer: heads x head dim x state dim for Mamba-2. */
  readonly numStateElements: number;
  /** Elements of the convolution's window in one layer: channels x (kernel width - 1). */
  readonly numConvElements: number;
  readonly elementBytes: number;
}

/** Bytes of one state of a sequence, all layers: a state space group's `blockBytes`. */
export function stateBytes(geometry: StateGeometry): number {
  const { numLayers, numStateElements, numConvElements, elementBytes } = geometry;
  return numLayers * (numStateElements + numConvElements) * elementBytes;
}

/**
 * Refuses a specification that no model has.
 *
 * @throws {RangeError} naming the group, the field and its value.
 */
export function checkGroupSpec(spec: GroupSpec): void {
  const check = (field: string, value: number, minimum: number) => {
    if (!Number.isInteger(value) || value < minimum) {
      throw new RangeError(
        `Cannot use group ${spec.name}: ${field} must be an integer of at least ${minimum}, ` +
          `got ${value}`,
      );
    }
  };
  check("tokensPerBlock", spec.tokensPerBlock, 1);
  check("blockBytes", spec.blockBytes, 1);
  if (spec.kind === "sliding-window") {
    check("windowTokens", spec.windowTokens, 1);
    check("numSinkTokens", spec.numSinkTokens ?? 0, 0);
  }
  if (spec.kind === "chunked-local") check("chunkTokens", spec.chunkTokens, 1);
}
