import { assert, assertEquals } from "@std/assert";
import { kvBlockWords } from "../../kernels/kv/kv_cache.ts";
import {
  attentionQueryTile,
  pagedAttentionCalls,
} from "../../kernels/attention/paged_attention.ts";
import { ropeStoreKvCall } from "../../kernels/kv/rope_store_kv.ts";
import { GPU_TUNING, SOFTWARE_TUNING, type Tuning } from "../../kernels/tuning/tuning.ts";
import { ropeTable } from "../../models/rope_table.ts";
import type { KvCacheDtype } from "../../src/core/engine_config.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest, noise, runOn } from "../support/agreement.ts";
import { type ChunkShape, packStep } from "../support/step_fixture.ts";

/** Those of `paged_attention_test.ts`, which compiles the kernels of f16 and int8. */
const HEADS = { H: 6, G: 2, D: 32, BLOCK_SIZE: 8 };
const WIDTH = (HEADS.H + 2 * HEADS.G) * HEADS.D;
/** The second chunk is spoiled, at row 13 of it. */
const CHUNKS: readonly ChunkShape[] = [
  { start: 0, count: 1 },
  { start: 0, count: 40 },
  { start: 0, count: 11 },
];
const FIRST_ROW = 1;
const SPOILED = 13;

const TUNINGS: Readonly<Record<string, Tuning>> = {
  "software": SOFTWARE_TUNING,
  "software, shared loads": { ...SOFTWARE_TUNING, attentionSubgroups: true },
  "GPU": GPU_TUNING,
  "GPU, deterministic": { ...GPU_TUNING, isDeterministic: true },
};

/** Attention of all rows over K and V that are stored in the same step, `qkv` f32 [rows, WIDTH]. */
async function attend(
  device: Device,
  qkv: Float32Array,
  KV_DTYPE: KvCacheDtype,
  tuning: Tuning,
): Promise<Float32Array[]> {
  const shape = { ...HEADS, KV_DTYPE };
  const queryTile = attentionQueryTile(shape, tuning);
  const pool = { blockSize: HEADS.BLOCK_SIZE, numBlocks: 31, queryTile };
  const step = packStep(CHUNKS, { ...pool, splitLen: tuning.splitLen });
  const { numTokens, numSplits: [numSplits = 0] } = step.dims;
  const contents = {
    step: step.words,
    rope: ropeTable({ rotaryDim: HEADS.D, theta: 1e4, scaling: undefined, maxPositions: 64 }),
    qkv,
    // What an earlier sequence has left behind.
    kv: new Uint32Array(31 * kvBlockWords(shape)).fill(0x7fc07e01),
    partials: new Float32Array(Math.max(1, numSplits) * HEADS.H * HEADS.D),
    stats: new Float32Array(Math.max(1, numSplits) * HEADS.H * 2),
    out: new Float32Array(numTokens * HEADS.H * HEADS.D),
  };
  const calls = (b: object) => [
    ropeStoreKvCall(shape, b as never),
    ...pagedAttentionCalls(shape, b as never, tuning),
  ];
  const { f32 } = await runOn(device, contents, calls, step.dims, "out");
  const rowLen = HEADS.H * HEADS.D;
  return Array.from({ length: numTokens }, (_, t) => f32.slice(t * rowLen, (t + 1) * rowLen));
}

/** That an element spoils the rows that attend to it, in the heads of its KV head, and nothing else. */
async function checkSpread(device: Device, dtype: KvCacheDtype, tuning: Tuning): Promise<void> {
  const numRows = CHUNKS.reduce((sum, { count }) => sum + count, 0);
  const qkv = noise(numRows * WIDTH, 7, 2);
  const sound = await attend(device, qkv, dtype, tuning);
  const values = dtype === "f16" ? [NaN, Infinity, 65520, -1e30] : [NaN, -Infinity];
  for (const value of values) {
    for (const isValue of [false, true]) {
      // A rotated K is smaller.
      if (value === 65520 && !isValue) continue;
      const spoiled = qkv.slice();
      const kvHead = HEADS.H + (isValue ? HEADS.G : 0);
      // Of the second KV head, whose queries are the last three heads.
      spoiled[(FIRST_ROW + SPOILED) * WIDTH + (kvHead + 1) * HEADS.D + 5] = value;
      const rows = await attend(device, spoiled, dtype, tuning);
      const half = HEADS.H / 2 * HEADS.D;
      rows.forEach((row, t) => {
        const label = `${value} in ${isValue ? "V" : "K"}, ${dtype}, row ${t}`;
        const isSpoiled = t >= FIRST_ROW + SPOILED && t < FIRST_ROW + CHUNKS[1]!.count;
        assertEquals(row.subarray(0, half), sound[t]!.subarray(0, half), label);
        if (isSpoiled) assert(row.subarray(half).every(Number.isNaN), label);
        else assertEquals(row.subarray(half), sound[t]!.subarray(half), label);
      });
    }
  }
}

const DTYPES: readonly KvCacheDtype[] = ["f16", "f32", "int8", "fp8", "int4"];

for (const [name, tuning] of Object.entries(TUNINGS)) {
  gpuTest(`an unsound position spoils those that attend to it alone: ${name}`, async (gpu) => {
    if (tuning.attentionSubgroups && gpu.capabilities.subgroupMinSize < 8) {
      // deno-lint-ignore no-console -- a skip must say why
      console.warn("skipped: the adapter grants no subgroups of eight");
      return;
    }
    for (const dtype of DTYPES) await checkSpread(gpu, dtype, tuning);
  });
}

Deno.test("an unsound position spoils those that attend to it alone, by definition", async () => {
  for (const dtype of DTYPES) await checkSpread(new ReferenceDevice(), dtype, SOFTWARE_TUNING);
});
