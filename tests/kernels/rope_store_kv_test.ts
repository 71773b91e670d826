import { assert, assertEquals, assertThrows } from "@std/assert";
import { kvPlace, type KvVector, kvWords, loadKv } from "../../kernels/kv/kv_cache.ts";
import { KV_DTYPES } from "../../kernels/kv/dtypes.ts";
import { hadamard } from "../../kernels/kv/hadamard.ts";
import { type AttentionLayer, qkvHeads } from "../../kernels/kv/attention_layer.ts";
import { ropeStoreKvCall } from "../../kernels/kv/rope_store_kv.ts";
import { GROUP_WORDS, STEP } from "../../kernels/step.ts";
import { ropeTable } from "../../models/rope_table.ts";
import { KV_CACHE_DTYPES, type KvCacheDtype } from "../../src/core/engine_config.ts";
import { isQuantizedKv, KV_STORAGE } from "../../src/core/kv_layout.ts";
import { InvariantError } from "../../src/base/invariant.ts";
import { READS_ALL } from "../../src/core/read_span.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";
import type { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import { gpuTest, noise, runBoth, worstError } from "../support/agreement.ts";
import { packStep } from "../support/step_fixture.ts";

const CHUNKS = [{ start: 40, count: 1 }, { start: 0, count: 19 }, { start: 7, count: 1 }];
const POOL = { blockSize: 8, numBlocks: 31, queryTile: 8 };
const POISON = 0xffffffff;

type Shape = AttentionLayer;

/** Largest error of an element by rounding, where its vector's largest magnitude is `peak`. */
function roundingError(
  dtype: Exclude<KvCacheDtype, "int4">,
  value: number,
  peak: number,
): number {
  if (dtype === "f32") return 1e-6;
  if (dtype === "f16") return 1e-6 + Math.abs(value) * 2 ** -11;
  // Half a step: of three bits of mantissa in fp8, of equal steps up to the peak in the others.
  if (dtype === "fp8") {
    return 1e-5 * peak + Math.max(Math.abs(value) / 16, peak / KV_DTYPES.fp8.code.max / 1024);
  }
  return 1e-5 * peak + peak / KV_DTYPES[dtype].code.max / 2;
}

/** Weights of the norms of queries and of keys, for heads of up to 128. */
const NORMS = noise(2 * 128, 9, 1);

/** Biases of rows of up to 8 heads of 128. */
const BIASES = noise(8 * 128, 7, 1);

/** The cases of a layer, with biases or without. */
type Case = Shape & { readonly hasBiases?: boolean };

/** Row `head` of `qkv`, of queries, keys and values in turn, by exact arithmetic. */
function computed(qkv: Float32Array, t: number, position: number, head: number, layer: Case) {
  const { H, G, D, NORM_EPS, ROTARY_DIM = D, hasBiases = false } = layer;
  const first = (t * qkvHeads(layer) + head) * D;
  const row = [...qkv.subarray(first, first + D)];
  if (hasBiases) row.forEach((x, d) => row[d] = x + BIASES[head * D + d]!);
  if (head >= H + G) return row;
  if (NORM_EPS !== undefined) {
    const rms = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0) / D + NORM_EPS);
    row.forEach((x, d) => row[d] = x / rms * NORMS[(head < H ? 0 : D) + d]!);
  }
  const half = ROTARY_DIM / 2;
  const { QUERY_RATE: rate = 0, QUERY_SPAN: span = 1 } = layer;
  const growth = head < H ? 1 + rate * Math.log(1 + Math.floor(position / span)) : 1;
  return row.map((value, d) => {
    if (d >= ROTARY_DIM) return growth * value;
    const angle = position * 1e4 ** (-2 * (d % half) / ROTARY_DIM);
    const partner = d < half ? -row[d + half]! : row[d - half]!;
    return growth * (value * Math.cos(angle) + partner * Math.sin(angle));
  });
}

/** Of a vector of uneven levels, transformed: its error is a small part of it, but not nothing. */
function checkUneven(stored: Float32Array, expected: readonly number[], place: string): void {
  const values = stored.slice();
  hadamard(values);
  const norm = Math.hypot(...expected);
  const error = Math.hypot(...expected.map((x, d) => x - values[d]!));
  assert(error <= 0.12 * norm, `${place}: an error of ${error} beside ${norm}`);
  assert(norm === 0 || error > 0.01 * norm, `${place} was not rounded`);
}

/** Checks every vector of the step in `pool`, and that all other words are as they were. */
function checkPool(
  pool: HostBuffer,
  qkv: Float32Array,
  words: Uint32Array,
  shape: Case,
): void {
  const untouched = new Set(pool.u32.keys());
  const values = new Float32Array(shape.D);
  for (let t = 0; t < words[STEP.numTokens]!; t++) {
    const position = words[words[STEP.positions]! + t]!;
    const slot = words[words[STEP.slots + (shape.GROUP ?? 0) * GROUP_WORDS]! + t]!;
    for (let g = 0; g < 2 * shape.G; g++) {
      const at: KvVector = { slot, which: g < shape.G ? 0 : 1, head: g % shape.G };
      const expected = computed(qkv, t, position, shape.H + g, shape);
      const peak = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      loadKv(pool, at, shape, values);
      const { KV_DTYPE } = shape;
      if (KV_DTYPE === "int4") {
        checkUneven(values, expected, `row ${t}, head ${g}`);
      } else {values.forEach((value, d) => {
          const bound = roundingError(KV_DTYPE, expected[d]!, peak);
          const error = Math.abs(value - expected[d]!);
          assert(error <= bound, `row ${t}, head ${g}, dim ${d}: ${value}, not ${expected[d]}`);
        });}
      const { first, end, scale } = kvWords(at, shape);
      for (let word = first; word < end; word++) untouched.delete(word);
      if (isQuantizedKv(shape.KV_DTYPE)) untouched.delete(scale);
    }
  }
  assert(untouched.size > 0);
  for (const word of untouched) assertEquals(pool.u32[word], POISON, `word ${word} was written`);
}

/** The stored values of a step's vectors. */
function storedValues(pool: HostBuffer, words: Uint32Array, shape: Shape): Float32Array {
  const numTokens = words[STEP.numTokens]!;
  const values = new Float32Array(numTokens * 2 * shape.G * shape.D);
  for (let t = 0; t < numTokens; t++) {
    const slot = words[words[STEP.slots + (shape.GROUP ?? 0) * GROUP_WORDS]! + t]!;
    for (let g = 0; g < 2 * shape.G; g++) {
      const first = (t * 2 * shape.G + g) * shape.D;
      const at: KvVector = { slot, which: g < shape.G ? 0 : 1, head: g % shape.G };
      loadKv(pool, at, shape, values.subarray(first, first + shape.D));
    }
  }
  return values;
}

const SHAPES: Omit<Case, "KV_DTYPE">[] = [
  { H: 3, G: 1, D: 32, BLOCK_SIZE: 8 },
  { H: 4, G: 2, D: 64, BLOCK_SIZE: 8 },
  { H: 1, G: 1, D: 16, BLOCK_SIZE: 8 },
  { H: 4, G: 2, D: 128, BLOCK_SIZE: 8, NORM_EPS: 1e-6 },
  // Heads of twelve lanes or six: a workgroup is not full. The last one has lanes of no head.
  { H: 2, G: 1, D: 48, BLOCK_SIZE: 8, NORM_EPS: 1e-2 },
  // A third of each head is rotated, after biases; blocks lie in rows of the second group's.
  {
    ...{ H: 3, G: 1, D: 48, BLOCK_SIZE: 8, ROTARY_DIM: 16, hasBiases: true },
    ...{ GROUP: 1, STRIDE: 2000, LAYER_OFFSET: 436 },
  },
  { H: 2, G: 2, D: 64, BLOCK_SIZE: 8, ROTARY_DIM: 32, NORM_EPS: 1e-6, hasBiases: true },
  // Queries that grow every 16 positions, of which the step has some beyond the first.
  { H: 3, G: 1, D: 32, BLOCK_SIZE: 8, QUERY_RATE: 0.5, QUERY_SPAN: 16 },
  // No positions.
  { H: 2, G: 1, D: 32, BLOCK_SIZE: 8, ROTARY_DIM: 0, hasBiases: true },
];

/** What a kernel does to a step of these chunks, by a device and by the definition. */
async function storedBy(gpu: WebGpuDevice, layer: Case) {
  const { hasBiases = false, ...shape } = layer;
  const { H, D, NORM_EPS, ROTARY_DIM = D, GROUP = 0 } = shape;
  const spans = Array.from({ length: GROUP + 1 }, () => READS_ALL);
  const step = packStep(CHUNKS, { ...POOL, spans });
  const qkv = noise(step.dims.numTokens * qkvHeads(layer) * D, 6, 3);
  // A head that is all zeros has no largest magnitude to divide by.
  if (!hasBiases) qkv.fill(0, H * D, (H + 1) * D);
  const table = { rotaryDim: Math.max(2, ROTARY_DIM), theta: 1e4, scaling: undefined };
  const contents = {
    step: step.words,
    rope: ropeTable({ ...table, maxPositions: 64 }),
    qkv,
    norms: NORMS.subarray(0, 2 * D),
    biases: BIASES.subarray(0, qkvHeads(layer) * D),
    kv: new Uint32Array(POOL.numBlocks * kvPlace(shape).STRIDE).fill(POISON),
  };
  const calls = ({ rope, norms, biases, ...b }: Record<string, DeviceBuffer>) => [
    ropeStoreKvCall(shape, {
      ...b as Record<"step" | "qkv" | "kv", DeviceBuffer>,
      ...(ROTARY_DIM > 0 ? { rope } : {}),
      ...(NORM_EPS === undefined ? {} : { norms }),
      ...(hasBiases ? { biases } : {}),
    }),
  ];
  const q = await runBoth(gpu, contents, calls, step.dims, "qkv");
  const kv = await runBoth(gpu, contents, calls, step.dims, "kv");
  return { step, qkv, q, kv };
}

/** Checks the queries in `qkv`, which those of no other head have changed. */
function checkQueries(actual: Float32Array, before: Float32Array, words: Uint32Array, layer: Case) {
  const { H, D } = layer;
  const width = qkvHeads(layer) * D;
  for (let t = 0; t < words[STEP.numTokens]!; t++) {
    const position = words[words[STEP.positions]! + t]!;
    for (let head = 0; head < H; head++) {
      const expected = Float32Array.from(computed(before, t, position, head, layer));
      const first = t * width + head * D;
      if (KV_STORAGE[layer.KV_DTYPE].isTransformed) hadamard(expected);
      const error = worstError(actual.subarray(first, first + D), expected);
      assert(error < 1e-5, `row ${t}, head ${head}: error ${error}`);
    }
    assertEquals(
      actual.slice(t * width + H * D, (t + 1) * width),
      before.slice(t * width + H * D, (t + 1) * width),
    );
  }
}

for (const KV_DTYPE of KV_CACHE_DTYPES) {
  gpuTest(`rope_store_kv rotates and scatters to its slots only: ${KV_DTYPE}`, async (gpu) => {
    for (const base of SHAPES) {
      const shape = { ...base, KV_DTYPE } as Case;
      const { step, qkv, q, kv } = await storedBy(gpu, shape);
      const error = worstError(q.actual.f32, q.expected.f32);
      assert(error < 3e-6, `error ${error}`);
      assert(worstError(q.actual.f32, qkv) > 0.1, "queries were not rotated");
      checkQueries(q.actual.f32, qkv, step.words, shape);
      checkPool(kv.actual, qkv, step.words, shape);
      checkPool(kv.expected, qkv, step.words, shape);
      const [actual, expected] = [kv.actual, kv.expected].map((pool) =>
        storedValues(pool, step.words, shape)
      );
      // Where rotation leaves an element next to the middle of two codes, either may be its nearest.
      const ties = actual!.filter((value, i) => Math.abs(value - expected![i]!) > 1e-5);
      assert(ties.length <= actual!.length / 200, `${ties.length} of ${actual!.length} differ`);
    }
  });
}

gpuTest("rope_store_kv of queries alone stores nothing", async (gpu) => {
  for (const KV_DTYPE of ["f16", "int8"] as const) {
    const shape = { H: 3, G: 1, D: 32, BLOCK_SIZE: 8, KV_DTYPE, QUERIES_ONLY: true } as const;
    const { step, qkv, q, kv } = await storedBy(gpu, { ...shape, ROTARY_DIM: 16, NORM_EPS: 1e-6 });
    checkQueries(q.actual.f32, qkv, step.words, { ...shape, ROTARY_DIM: 16, NORM_EPS: 1e-6 });
    for (const pool of [kv.actual, kv.expected]) assert(pool.u32.every((word) => word === POISON));
  }
});

Deno.test("ropeStoreKvCall() refuses a rotated part that is no whole words, and what it lacks", () => {
  const shape = { H: 2, G: 1, D: 32, BLOCK_SIZE: 8, KV_DTYPE: "int4" } as const;
  const buffer = { label: "any", bytes: 4 };
  const buffers = { step: buffer, qkv: buffer, kv: buffer, rope: buffer };
  ropeStoreKvCall({ ...shape, ROTARY_DIM: 16 }, buffers);
  const refuse = (options: Partial<Shape>, part: string, given: typeof buffers = buffers) =>
    assertThrows(() => ropeStoreKvCall({ ...shape, ...options }, given), InvariantError, part);
  refuse({ ROTARY_DIM: 12 }, "12 of 32 elements are rotated, not a multiple of 8 in int4");
  refuse({ ROTARY_DIM: 48 }, "48 of 32");
  refuse({ NORM_EPS: 1e-6 }, "norms of heads have no weights");
  refuse({ STRIDE: 76 }, "a layer's words 0 to 80 in blocks of 76 words");
  const { rope: _, ...without } = buffers;
  refuse({}, "no rotary table", without as typeof buffers);
});
