import { assert, assertEquals } from "@std/assert";
import { kvBlockWords, type KvVector, kvWords, loadKv } from "../../kernels/kv/kv_cache.ts";
import { KV_DTYPES } from "../../kernels/kv/dtypes.ts";
import type { AttentionLayer } from "../../kernels/kv/attention_layer.ts";
import { ropeStoreKvCall } from "../../kernels/kv/rope_store_kv.ts";
import { STEP } from "../../kernels/step.ts";
import { ropeTable } from "../../models/rope_table.ts";
import { KV_CACHE_DTYPES, type KvCacheDtype } from "../../src/core/engine_config.ts";
import { isQuantizedKv } from "../../src/core/kv_layout.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import { gpuTest, noise, runBoth, worstError } from "../support/agreement.ts";
import { packStep } from "../support/step_fixture.ts";

const CHUNKS = [{ start: 40, count: 1 }, { start: 0, count: 19 }, { start: 7, count: 1 }];
const POOL = { blockSize: 8, numBlocks: 31, queryTile: 8 };
const POISON = 0xffffffff;

type Shape = AttentionLayer;

/** Largest error of an element by rounding, where its vector's largest magnitude is `peak`. */
function roundingError(dtype: KvCacheDtype, value: number, peak: number): number {
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

/** Rotated k, and v, of row `t` by exact arithmetic. */
function stored(qkv: Float32Array, t: number, position: number, at: KvVector, shape: Shape) {
  const { H, G, D, NORM_EPS } = shape;
  const first = (t * (H + 2 * G) + H + at.which * G + at.head) * D;
  const row = [...qkv.subarray(first, first + D)];
  if (at.which === 1) return row;
  if (NORM_EPS !== undefined) {
    const rms = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0) / D + NORM_EPS);
    row.forEach((x, d) => row[d] = x / rms * NORMS[D + d]!);
  }
  return row.map((value, d) => {
    const i = d % (D / 2);
    const angle = position * 1e4 ** (-2 * i / D);
    const partner = d < D / 2 ? -row[d + D / 2]! : row[d - D / 2]!;
    return value * Math.cos(angle) + partner * Math.sin(angle);
  });
}

/** Checks every vector of the step in `pool`, and that all other words are as they were. */
function checkPool(
  pool: HostBuffer,
  qkv: Float32Array,
  words: Uint32Array,
  shape: Shape,
): void {
  const untouched = new Set(pool.u32.keys());
  const values = new Float32Array(shape.D);
  for (let t = 0; t < words[STEP.numTokens]!; t++) {
    const position = words[words[STEP.positions]! + t]!;
    const slot = words[words[STEP.slots]! + t]!;
    for (let g = 0; g < 2 * shape.G; g++) {
      const at: KvVector = { slot, which: g < shape.G ? 0 : 1, head: g % shape.G };
      const expected = stored(qkv, t, position, at, shape);
      const peak = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      loadKv(pool, at, shape, values);
      values.forEach((value, d) => {
        const bound = roundingError(shape.KV_DTYPE, expected[d]!, peak);
        const error = Math.abs(value - expected[d]!);
        assert(error <= bound, `row ${t}, head ${g}, dim ${d}: ${value}, not ${expected[d]}`);
      });
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
    const slot = words[words[STEP.slots]! + t]!;
    for (let g = 0; g < 2 * shape.G; g++) {
      const first = (t * 2 * shape.G + g) * shape.D;
      const at: KvVector = { slot, which: g < shape.G ? 0 : 1, head: g % shape.G };
      loadKv(pool, at, shape, values.subarray(first, first + shape.D));
    }
  }
  return values;
}

const SHAPES: Omit<Shape, "KV_DTYPE">[] = [
  { H: 3, G: 1, D: 32, BLOCK_SIZE: 8 },
  { H: 4, G: 2, D: 64, BLOCK_SIZE: 8 },
  { H: 1, G: 1, D: 16, BLOCK_SIZE: 8 },
  { H: 4, G: 2, D: 128, BLOCK_SIZE: 8, NORM_EPS: 1e-6 },
  // Heads of twelve lanes or six: a workgroup is not full. The last one has lanes of no head.
  { H: 2, G: 1, D: 48, BLOCK_SIZE: 8, NORM_EPS: 1e-2 },
];

for (const KV_DTYPE of KV_CACHE_DTYPES) {
  gpuTest(`rope_store_kv rotates and scatters to its slots only: ${KV_DTYPE}`, async (gpu) => {
    for (const base of SHAPES) {
      const shape = { ...base, KV_DTYPE };
      const step = packStep(CHUNKS, POOL);
      const qkv = noise(step.dims.numTokens * (shape.H + 2 * shape.G) * shape.D, 6, 3);
      // A head that is all zeros has no largest magnitude to divide by.
      qkv.fill(0, shape.H * shape.D, (shape.H + 1) * shape.D);
      const contents = {
        step: step.words,
        rope: ropeTable({ rotaryDim: shape.D, theta: 1e4, scaling: undefined, maxPositions: 64 }),
        qkv,
        norms: NORMS.subarray(0, 2 * shape.D),
        kv: new Uint32Array(POOL.numBlocks * kvBlockWords(shape)).fill(POISON),
      };
      const calls = (b: object) => [ropeStoreKvCall(shape, b as never)];
      const q = await runBoth(gpu, contents, calls, step.dims, "qkv");
      const error = worstError(q.actual.f32, q.expected.f32);
      assert(error < 3e-6, `error ${error}`);
      assert(worstError(q.actual.f32, qkv) > 0.1, "queries were not rotated");
      const kv = await runBoth(gpu, contents, calls, step.dims, "kv");
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
