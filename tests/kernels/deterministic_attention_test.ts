import { assert, assertEquals } from "@std/assert";
import type { AttentionLayer } from "../../kernels/kv/attention_layer.ts";
import { spanOf } from "../../kernels/kv/kv_cache.ts";
import {
  attentionQueryTile,
  pagedAttentionCalls,
} from "../../kernels/attention/paged_attention.ts";
import { GPU_TUNING, SOFTWARE_TUNING, type Tuning } from "../../kernels/tuning/tuning.ts";
import type { ScheduledChunk } from "../../src/core/batch.ts";
import type { HostBuffer } from "../../src/device/host_buffer.ts";
import { StepPacker } from "../../src/runner/step_packer.ts";
import { gpuTest, noise, runBoth } from "../support/agreement.ts";
import { filledKv } from "../support/kv_fixture.ts";
import { type ChunkShape, scatteredTables } from "../support/step_fixture.ts";

/** Contexts within one split, that end one, that begin one, and of several. */
const CHUNKS: readonly ChunkShape[] = [
  { start: 0, count: 37 },
  { start: 60, count: 9 },
  { start: 250, count: 41 },
];
const NUM_BLOCKS = 301;

type Shape = AttentionLayer;

/**
 * Few, since compiling them is what takes time, and where one will do those that
 * `paged_attention_test.ts` compiles as well: each dtype; heads of a group that a workgroup has in one
 * turn, and in two (12); one head of 128 dims; blocks smaller and larger than a tile of positions; codes
 * with a group of heads and without; and heads that no workgroup can share.
 */
const SHAPES: [name: string, shape: Shape][] = [
  ["MHA, 32 dims in f16", { H: 2, G: 2, D: 32, BLOCK_SIZE: 16, KV_DTYPE: "f16" }],
  ["GQA 3, 128 dims in f16", { H: 3, G: 1, D: 128, BLOCK_SIZE: 32, KV_DTYPE: "f16" }],
  ["MQA 12, 64 dims in f32", { H: 12, G: 1, D: 64, BLOCK_SIZE: 16, KV_DTYPE: "f32" }],
  ["GQA 5, 96 dims in f16", { H: 5, G: 1, D: 96, BLOCK_SIZE: 4, KV_DTYPE: "f16" }],
  ["MHA, 8 dims in int8", { H: 2, G: 2, D: 8, BLOCK_SIZE: 8, KV_DTYPE: "int8" }],
  ["GQA 2, 64 dims in fp8", { H: 4, G: 2, D: 64, BLOCK_SIZE: 16, KV_DTYPE: "fp8" }],
  ["GQA 3, 32 dims in int4", { H: 6, G: 2, D: 32, BLOCK_SIZE: 16, KV_DTYPE: "int4" }],
  ["a window with sinks and a soft cap", {
    ...{ H: 3, G: 1, D: 16, BLOCK_SIZE: 4, KV_DTYPE: "f16" },
    ...{ WINDOW: 75, NUM_SINKS: 6, SOFT_CAP: 3 },
  }],
  ["chunks of positions in int8", {
    ...{ H: 4, G: 2, D: 16, BLOCK_SIZE: 16, KV_DTYPE: "int8", WINDOW: 50, IS_CHUNKED: true },
  }],
  ["GQA 2, 12 dims, by lone lanes", { H: 2, G: 1, D: 12, BLOCK_SIZE: 16, KV_DTYPE: "f16" }],
];

/** The chunks, and before them every row of theirs as a decode with the same queries and context. */
function chunksAndDecodes(shape: Shape, tuning: Tuning) {
  const { H, G, D, BLOCK_SIZE } = shape;
  const lengths = CHUNKS.map(({ start, count }) => start + count);
  const tables = scatteredTables(lengths.map((n) => Math.ceil(n / BLOCK_SIZE)), NUM_BLOCKS);
  const rowsOf = (start: number, count: number, s: number): ScheduledChunk => ({
    sequenceId: 0,
    tokens: new Uint32Array(count),
    start,
    blockTables: [tables[s]!],
  });
  const decodes = CHUNKS.flatMap(({ start, count }, s) =>
    Array.from({ length: count }, (_, i) => rowsOf(start + i, 1, s))
  );
  const chunks = [...decodes, ...CHUNKS.map(({ start, count }, s) => rowsOf(start, count, s))];
  const numTokens = 2 * decodes.length;
  const packer = new StepPacker({
    maxTokens: numTokens,
    maxSeqs: chunks.length,
    maxBlocksPerSeq: Math.ceil(Math.max(...lengths) / BLOCK_SIZE),
    blockSize: BLOCK_SIZE,
    queryTile: attentionQueryTile(shape, tuning),
    splitLen: tuning.splitLen,
    spans: [spanOf(shape)],
    maxSplits: decodes.length * Math.ceil(Math.max(...lengths) / tuning.splitLen),
  });
  const queries = noise(decodes.length * (H + 2 * G) * D, 9, 4);
  const qkv = new Float32Array(2 * queries.length);
  qkv.set(queries);
  qkv.set(queries, queries.length);
  const { words, dims } = packer.pack({ step: 0, chunks, numTokens });
  return { words, dims, qkv, kv: filledKv(shape, NUM_BLOCKS, tables, lengths) };
}

/** Attention of the chunks' rows as decodes and in chunks, on the adapter and by the definition. */
async function attend(gpu: Parameters<typeof runBoth>[0], shape: Shape, tuning: Tuning) {
  const { words, dims, qkv, kv } = chunksAndDecodes(shape, tuning);
  const { H, D } = shape;
  const { actual, expected } = await runBoth(
    gpu,
    {
      step: words,
      qkv,
      kv,
      partials: new Float32Array(dims.numSplits[0]! * H * D).fill(NaN),
      stats: new Float32Array(dims.numSplits[0]! * H * 2).fill(NaN),
      out: new Float32Array(dims.numTokens * H * D).fill(7),
      sinks: noise(H, 4, 2),
    },
    ({ sinks, ...b }) =>
      pagedAttentionCalls(
        shape,
        { ...b, ...(shape.SOFT_CAP === undefined ? {} : { sinks }) } as never,
        tuning,
      ),
    dims,
    "out",
  );
  const halves = ({ u32 }: HostBuffer) => {
    const half = dims.numDecodes * H * D;
    return { decodes: u32.slice(0, half), chunks: u32.slice(half) };
  };
  return { actual: halves(actual), expected: halves(expected) };
}

/** Words of the chunks' rows that are not those of the same rows as decodes. */
function numDifferent({ chunks, decodes }: { chunks: Uint32Array; decodes: Uint32Array }): number {
  assertEquals(chunks.length, decodes.length);
  return chunks.filter((bits, i) => bits !== decodes[i]).length;
}

const TUNINGS = {
  SOFTWARE_TUNING,
  "GPU_TUNING, deterministic": { ...GPU_TUNING, isDeterministic: true },
};

for (const [name, tuning] of Object.entries(TUNINGS)) {
  for (const [shapeName, shape] of SHAPES) {
    gpuTest(`${name} gives a row the same bits in a chunk and alone: ${shapeName}`, async (gpu) => {
      const { actual, expected } = await attend(gpu, shape, tuning);
      assertEquals(numDifferent(actual), 0);
      assertEquals(numDifferent(expected), 0);
      assert(new Set(actual.decodes).size > actual.decodes.length / 2, "nothing was computed");
    });
  }
}

for (const [shapeName, shape] of SHAPES.filter(([, { D }]) => D >= 64).slice(0, 6)) {
  gpuTest(
    `shuffles among subgroups give a row the same bits in a chunk and alone: ${shapeName}`,
    async (gpu) => {
      if (gpu.capabilities.subgroupMinSize < 8) {
        // deno-lint-ignore no-console -- a skip must say why
        console.warn("skipped: the adapter grants no subgroups of eight");
        return;
      }
      const tuning = { ...GPU_TUNING, isDeterministic: true, shuffleLanes: 8 };
      const { actual } = await attend(gpu, shape, tuning);
      assertEquals(numDifferent(actual), 0);
      assert(new Set(actual.decodes).size > actual.decodes.length / 2, "nothing was computed");
    },
  );
}

gpuTest("GPU_TUNING gives a row other bits in a chunk than alone", async (gpu) => {
  const { actual } = await attend(gpu, SHAPES[0]![1], GPU_TUNING);
  assert(numDifferent(actual) > 0);
});
