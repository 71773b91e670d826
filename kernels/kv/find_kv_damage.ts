import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import { isQuantizedKv } from "../../src/core/kv_layout.ts";
import { f16BitsToF32 } from "../../src/base/float_bits.ts";
import type { HostBuffer } from "../../src/device/host_buffer.ts";
import source from "./find_kv_damage.wgsl" with { type: "text" };
import {
  type KvPlace,
  kvPlace,
  type KvReads,
  kvReads,
  type KvShape,
  kvVectorWords,
  kvWords,
  positionsRead,
} from "./kv_cache.ts";
import reads from "./_reads.wgsl" with { type: "text" };
import { GROUP_WORDS, groupStepWgsl, SEQ, STEP, tableEntry } from "../step.ts";
import { TOO_LARGE_F16 } from "./store_kv.ts";

type Shape =
  & KvShape
  & KvPlace
  & KvReads
  & Readonly<{
    LAYER: number;
    GROUPS: number;
    LANES: number;
    FIRST: number;
    CHECKED: number;
    VECTOR: number;
    IS_F16: boolean;
  }>;

/** The value of `found` before the search, and where all numbers are finite. */
export const NO_DAMAGE = 0xffffffff;

/**
 * Finds where the KV that the rows of the step's first sequence read first holds what is not a
 * finite number, in one layer: `found` u32 [layers] gets twice the position, plus 1 unless a number
 * was merely too large for f16 there; {@link NO_DAMAGE} stays where all is finite.
 */
export const findKvDamage: Kernel<Shape> = {
  name: "find_kv_damage",
  source: groupStepWgsl + reads + source,
  bindings: [
    { name: "step", access: "read" },
    { name: "kv", access: "read" },
    { name: "found", access: "read_write" },
  ],
  reference({ step, kv, found }, shape) {
    const words = step!.u32;
    const { BLOCK_SIZE, G, LAYER, GROUP } = shape;
    const seq = words.subarray(words[STEP.seqs + GROUP * GROUP_WORDS]!);
    const contextLen = seq[SEQ.contextLen]!;
    for (const position of positionsRead(shape, contextLen - seq[SEQ.numRows]!, [0, contextLen])) {
      const block = tableEntry(words, seq[SEQ.table]!, Math.floor(position / BLOCK_SIZE));
      const slot = block * BLOCK_SIZE + position % BLOCK_SIZE;
      for (let vector = 0; vector < 2 * G; vector++) {
        const at = { slot, which: vector < G ? 0 : 1, head: vector % G } as const;
        const worst = damage(kv!, kvWords(at, shape), shape);
        found!.u32[LAYER] = Math.min(found!.u32[LAYER]!, 2 * position + worst);
      }
    }
  },
};

/** 0 for a vector with a number too large for f16, 1 with one that is not finite, else infinity. */
function damage(
  kv: HostBuffer,
  { first, end, scale }: ReturnType<typeof kvWords>,
  { KV_DTYPE }: KvShape,
): number {
  const isFinite = (x: number) => Number.isFinite(x);
  if (isQuantizedKv(KV_DTYPE)) return isFinite(kv.f32[scale]!) ? Infinity : 1;
  if (KV_DTYPE === "f32") return kv.f32.subarray(first, end).every(isFinite) ? Infinity : 1;
  const halves = kv.u16.subarray(2 * first, 2 * end);
  if (halves.some((bits) => (bits & 0x7fff) === TOO_LARGE_F16)) return 0;
  return halves.every((bits) => isFinite(f16BitsToF32(bits))) ? Infinity : 1;
}

/** Looks through one layer of the KV of a step's first sequence. */
export function findKvDamageCall(
  shape: KvShape & Readonly<{ LAYER: number }>,
  buffers: Readonly<Record<"step" | "kv" | "found", DeviceBuffer>>,
): KernelCall<unknown> {
  const { BLOCK_SIZE, G, KV_DTYPE, LAYER } = shape;
  const isScaled = isQuantizedKv(KV_DTYPE);
  const vectorWords = kvVectorWords(shape);
  const numVectors = 2 * G * BLOCK_SIZE;
  const GROUPS = 64;
  return kernelCall(findKvDamage, {
    constants: {
      ...shape,
      ...{ GROUPS, LANES: 64, IS_F16: KV_DTYPE === "f16" },
      ...kvPlace(shape),
      ...kvReads(shape),
      FIRST: isScaled ? numVectors * vectorWords : 0,
      CHECKED: numVectors * (isScaled ? 1 : vectorWords),
      VECTOR: isScaled ? 1 : vectorWords,
    },
    buffers,
    workgroups: () => [GROUPS, LAYER + 1, 1],
  });
}
