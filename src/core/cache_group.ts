import { alignDown, ceilDiv } from "../base/math.ts";

/**
 * What a layer keeps of the positions before the next: all of them, the last so many, those of its
 * own attention chunk, one state that sums them up, or the output of an encoder.
 */
export type CacheKind = "full" | "sliding_window" | "chunked_local" | "state" | "encoder";

/** Keys and values of so many heads, each of so many elements, per position and layer. */
export interface KvHeads {
  readonly numKvHeads: number;
  /** Elements of one head's key, and of its value. */
  readonly headDim: number;
}

/** A layer whose queries read every earlier position. */
export interface FullCache extends KvHeads {
  readonly kind: "full";
}

/**
 * A layer whose query at position `p` reads `[p - window + 1, p]`, and the first `numSinkTokens`
 * positions for ever where given (attention sinks, Xiao et al. 2023, arXiv:2309.17453).
 */
export interface SlidingWindowCache extends KvHeads {
  readonly kind: "sliding_window";
  /** Positions that a query reads, its own included. */
  readonly window: number;
  readonly numSinkTokens?: number;
}

/** A layer whose query at `p` reads `[p - p mod window, p]`: its attention chunk and no other. */
export interface ChunkedLocalCache extends KvHeads {
  readonly kind: "chunked_local";
  /** Positions of an attention chunk. */
  readonly window: number;
}

/** A layer with one state per sequence, which each position overwrites in place. */
export interface StateCache {
  readonly kind: "state";
  /** Of one state of one layer: recurrent state and convolution window together. */
  readonly stateBytes: number;
}

/**
 * A layer that reads an encoder's positions, whose number is set by the input. They live as long as
 * the sequence (keys and values for cross-attention) or until the placeholders that they fill are
 * computed (embeddings).
 */
export interface EncoderCache extends KvHeads {
  readonly kind: "encoder";
  readonly lifetime: "sequence" | "placeholders";
}

/** What one layer keeps. */
export type CacheSpec =
  | FullCache
  | SlidingWindowCache
  | ChunkedLocalCache
  | StateCache
  | EncoderCache;

/** Whether a layer reads back to some position that moves on, so that blocks behind it die. */
export function isWindow(spec: CacheSpec): spec is SlidingWindowCache | ChunkedLocalCache {
  return spec.kind === "sliding_window" || spec.kind === "chunked_local";
}

/** Layers that keep the same, and so share block tables. */
export type CacheGroup = CacheSpec & {
  /** Names the group in plans, events and errors, such as `full` or `sliding_window of 512`. */
  readonly name: string;
  /** The layers, ascending. One that reads an earlier layer's KV keeps nothing, and is in none. */
  readonly layers: readonly number[];
};

/** How cache groups share one pool; absent fields stand for one group of full attention. */
export interface PoolGroups {
  /** What layers keep, group by group. */
  readonly groups?: readonly CacheSpec[];
  /** Blocks of each group that a slab holds. */
  readonly blocksPerSlab?: readonly number[];
}

/** The group of a model that is told of none; the heads decide nothing about its blocks. */
export const ONE_FULL_GROUP: readonly CacheSpec[] = [{ kind: "full", numKvHeads: 1, headDim: 1 }];

/** Stands in a block table for a block that is dead or was never needed; no kernel reads it. */
export const NO_BLOCK = -1;

/**
 * The groups of a model whose layers keep these; `undefined` for a layer that keeps nothing of its
 * own. Those of full attention come first, the others in the order of their first layers.
 */
export function groupLayers(layers: readonly (CacheSpec | undefined)[]): CacheGroup[] {
  const byGeometry = new Map<string, { spec: CacheSpec; layers: number[] }>();
  layers.forEach((spec, layer) => {
    if (spec === undefined) return;
    const key = JSON.stringify(Object.entries(spec).sort());
    const group = byGeometry.get(key);
    if (group === undefined) byGeometry.set(key, { spec, layers: [layer] });
    else group.layers.push(layer);
  });
  const groups = [...byGeometry.values()];
  const isFull = ({ spec }: { spec: CacheSpec }) => spec.kind === "full";
  const ordered = [...groups.filter(isFull), ...groups.filter((group) => !isFull(group))];
  return ordered.map((group) => ({
    ...group.spec,
    name: groupName(group.spec, ordered.map(({ spec }) => spec)),
    layers: group.layers,
  }));
}

/** Its kind, with what tells it from the others of its kind. */
function groupName(spec: CacheSpec, all: readonly CacheSpec[]): string {
  const alike = all.filter(({ kind }) => kind === spec.kind);
  const { kind } = spec;
  if (kind === "state") return alike.length === 1 ? kind : `${kind} of ${spec.stateBytes} bytes`;
  const window = kind === "sliding_window" || kind === "chunked_local" ? ` of ${spec.window}` : "";
  if (alike.length === 1) return kind + window;
  return `${kind}${window}, ${spec.numKvHeads} heads of ${spec.headDim}`;
}

/** Whether some layers keep states, which each position overwrites: those of before are gone. */
export function hasStates(groups: readonly CacheSpec[]): boolean {
  return groups.some(({ kind }) => kind === "state");
}

/** Indices into a sequence's table: `[0, numSinkBlocks)` and `[start, end)`, never overlapping. */
export interface LiveRange {
  readonly numSinkBlocks: number;
  readonly start: number;
  readonly end: number;
}

/**
 * The blocks that a sequence still reads once `numTokens` positions are computed and no step that
 * computes them is in flight, the one being filled included. All others are dead.
 *
 * For a `numTokens` on a block boundary these are also exactly the cached blocks that a hit of that
 * length needs: whatever goes on from there reads the same. For a state it is the one at that
 * length. Encoder blocks are named by their content, not by positions, so there are none here.
 */
export function liveRange(spec: CacheSpec, numTokens: number, blockSize: number): LiveRange {
  const end = ceilDiv(numTokens, blockSize);
  switch (spec.kind) {
    case "full":
      return { numSinkBlocks: 0, start: 0, end };
    case "sliding_window": {
      const firstRead = Math.max(0, numTokens - spec.window + 1);
      const start = Math.min(end, Math.floor(firstRead / blockSize));
      return { numSinkBlocks: Math.min(sinkBlocks(spec, blockSize), start), start, end };
    }
    case "chunked_local": {
      const firstRead = alignDown(numTokens, spec.window);
      return { numSinkBlocks: 0, start: Math.floor(firstRead / blockSize), end };
    }
    case "state":
      return { numSinkBlocks: 0, start: Math.max(0, end - 1), end };
    case "encoder":
      return { numSinkBlocks: 0, start: 0, end: 0 };
  }
}

/** Whether block `index` is one of those that a range names. */
export function isInRange({ numSinkBlocks, start, end }: LiveRange, index: number): boolean {
  return index < numSinkBlocks || (index >= start && index < end);
}

/** How many blocks {@link liveRange} names. */
export function numLiveBlocks({ numSinkBlocks, start, end }: LiveRange): number {
  return numSinkBlocks + end - start;
}

/** Block size and step size of a pool. */
export interface StepGrain {
  /** Token positions per block. */
  readonly blockSize: number;
  /** Most positions of one sequence that are computed at a time: a step's token budget. */
  readonly maxInFlightTokens: number;
}

/**
 * Most blocks that a sequence of up to `numTokens` positions ever holds at once, however it is cut
 * into chunks, if the dead ones are freed when the step that read them last is done. Exact; a
 * snapshot of a state is not counted, nor are encoder blocks.
 */
export function maxLiveBlocks(
  spec: CacheSpec,
  numTokens: number,
  { blockSize, maxInFlightTokens }: StepGrain,
): number {
  const whole = ceilDiv(numTokens, blockSize);
  switch (spec.kind) {
    case "full":
      return whole;
    case "sliding_window": {
      // What a step reads and writes begins, at worst, at the last position of a block.
      const spanTokens = spec.window - 1 + maxInFlightTokens;
      const ofWindow = 1 + ceilDiv(spanTokens - 1, blockSize);
      return Math.min(whole, sinkBlocks(spec, blockSize) + ofWindow);
    }
    case "chunked_local": {
      // A step at a chunk's last position writes up to this far from the chunk's first one.
      const spanTokens = spec.window - 1 + maxInFlightTokens;
      let most = 0;
      // The offsets of attention chunks in blocks recur after as many chunks as a block has
      // positions.
      for (let chunk = 0; chunk < blockSize && chunk * spec.window < numTokens; chunk++) {
        const first = chunk * spec.window;
        const end = ceilDiv(Math.min(numTokens, first + spanTokens), blockSize);
        most = Math.max(most, end - Math.floor(first / blockSize));
      }
      return most;
    }
    case "state":
      return Math.min(whole, 1);
    case "encoder":
      return 0;
  }
}

/** Blocks that attention sinks take. */
function sinkBlocks({ numSinkTokens = 0 }: SlidingWindowCache, blockSize: number): number {
  return ceilDiv(numSinkTokens, blockSize);
}
