import type { HostBuffer } from "../../src/device/host_buffer.ts";
import { type Attended, attendTo, queryOf } from "./attend.ts";
import type { KvShape } from "../kv/kv_cache.ts";
import { SEQ, SEQ_WORDS, STEP, TILE, TILE_WORDS } from "../step.ts";

/** Buffers by binding name. */
type Buffers = Readonly<Record<string, HostBuffer>>;

/** H query heads over G KV heads of D dims. */
export type AttentionShape = KvShape & Readonly<{ H: number }>;

/**
 * Buffers that attention reads and writes, in binding order; `partials` and `stats` are the splits'
 * results.
 */
export const DECODE_BINDINGS = [
  { name: "step", access: "read" },
  { name: "qkv", access: "read" },
  { name: "kv", access: "read" },
  { name: "partials", access: "read_write" },
  { name: "stats", access: "read_write" },
] as const;

/** As {@link DECODE_BINDINGS}, for what combines the splits. */
export const COMBINE_BINDINGS = [
  { name: "step", access: "read" },
  { name: "partials", access: "read" },
  { name: "stats", access: "read" },
  { name: "out", access: "read_write" },
] as const;

/** As {@link DECODE_BINDINGS}, for chunks. */
export const PREFILL_BINDINGS = [
  { name: "step", access: "read" },
  { name: "qkv", access: "read" },
  { name: "kv", access: "read" },
  { name: "out", access: "read_write" },
] as const;

/**
 * Attention of decodes, one partial result per split of `SPLIT_LEN` positions: `partials` f32 [M,
 * D] and `stats` f32 [M, 2] of each sequence and head in turn, where M is what the sequence's
 * context has of splits. So their size follows from the step's number of splits, also where
 * contexts are ragged.
 */
export function attendDecodes(
  { step, qkv, kv, partials, stats }: Buffers,
  shape: AttentionShape & Readonly<{ SPLIT_LEN: number }>,
): void {
  const { H, G, D, SPLIT_LEN } = shape;
  const words = step!.u32;
  for (let s = 0; s < words[STEP.numDecodes]!; s++) {
    const seq = words[STEP.seqs]! + s * SEQ_WORDS;
    const contextLen = words[seq + SEQ.contextLen]!;
    const numSplits = Math.ceil(contextLen / SPLIT_LEN);
    for (let h = 0; h < H; h++) {
      const query = queryOf(qkv!, words[seq + SEQ.firstRow]!, h, shape);
      for (let split = 0; split < numSplits; split++) {
        const begin = split * SPLIT_LEN;
        const at = words[seq + SEQ.firstSplit]! * H + h * numSplits + split;
        const positions = [begin, Math.min(begin + SPLIT_LEN, contextLen)] as const;
        const context = { kv: kv!, words, table: words[seq + SEQ.table]! };
        const head = Math.floor(h / (H / G));
        const { output, max, total } = attendTo(query, context, head, positions, shape);
        partials!.f32.set(output, at * D);
        stats!.f32.set([max, total], at * 2);
      }
    }
  }
}

/** Joins the splits of each decode's heads. */
export function combineAllSplits(
  { step, partials, stats, out }: Buffers,
  { H, D, SPLIT_LEN }: Readonly<{ H: number; D: number; SPLIT_LEN: number }>,
): void {
  const words = step!.u32;
  for (let s = 0; s < words[STEP.numDecodes]!; s++) {
    const seq = words[STEP.seqs]! + s * SEQ_WORDS;
    const count = Math.ceil(words[seq + SEQ.contextLen]! / SPLIT_LEN);
    for (let h = 0; h < H; h++) {
      const first = words[seq + SEQ.firstSplit]! * H + h * count;
      const splits = Array.from({ length: count }, (_, m): Attended => {
        const [max, total] = stats!.f32.subarray((first + m) * 2);
        const output = partials!.f32.subarray((first + m) * D, (first + m + 1) * D);
        return { output, max: max!, total: total! };
      });
      out!.f32.set(combineSplits(splits), (words[seq + SEQ.firstRow]! * H + h) * D);
    }
  }
}

/**
 * The attention of a context from that of its splits, in the order of their positions; at least
 * one.
 */
function combineSplits(splits: readonly Attended[]): Float32Array {
  const max = Math.max(...splits.map((split) => split.max));
  const weights = splits.map((split) => Math.exp(split.max - max));
  const total = splits.reduce((sum, split, m) => sum + split.total * weights[m]!, 0);
  return splits[0]!.output.map((_, d) =>
    splits.reduce((sum, { output }, m) => sum + output[d]! * weights[m]!, 0) / total
  );
}

/**
 * Causal attention of chunks: of each row as {@link attendDecodes} and {@link combineAllSplits} do
 * it, to the bit.
 */
export function attendTiles(
  { step, qkv, kv, out }: Buffers,
  shape: KvShape & Readonly<{ H: number; SPLIT_LEN: number }>,
): void {
  const { H, G, D, SPLIT_LEN } = shape;
  const words = step!.u32;
  for (let n = 0; n < words[STEP.numTiles]!; n++) {
    const tile = words[STEP.tiles]! + n * TILE_WORDS;
    const seq = words[STEP.seqs]! + words[tile + TILE.seq]! * SEQ_WORDS;
    const context = { kv: kv!, words, table: words[seq + SEQ.table]! };
    for (let i = 0; i < words[tile + TILE.numRows]!; i++) {
      const row = words[tile + TILE.firstRow]! + i;
      const end = words[tile + TILE.position]! + i + 1;
      for (let h = 0; h < H; h++) {
        const query = queryOf(qkv!, row, h, shape);
        const head = Math.floor(h / (H / G));
        const splits: Attended[] = [];
        for (let begin = 0; begin < end; begin += SPLIT_LEN) {
          const positions = [begin, Math.min(begin + SPLIT_LEN, end)] as const;
          const { output, max, total } = attendTo(query, context, head, positions, shape);
          // As the buffer between the two keeps them.
          splits.push({ output, max: Math.fround(max), total: Math.fround(total) });
        }
        out!.f32.set(combineSplits(splits), (row * H + h) * D);
      }
    }
  }
}
