import { assert, assertEquals } from "@std/assert";
import { type KvShape, spanOf } from "../../kernels/kv/kv_cache.ts";
import {
  attentionQueryTile,
  pagedAttentionCalls,
} from "../../kernels/attention/paged_attention.ts";
import { GPU_TUNING, SOFTWARE_TUNING, type Tuning } from "../../kernels/tuning/tuning.ts";
import type { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { gpuTest, noise, runBoth, worstError } from "../support/agreement.ts";
import { filledKv } from "../support/kv_fixture.ts";
import { type ChunkShape, packStep } from "../support/step_fixture.ts";

const DETERMINISTIC_GPU_TUNING: Tuning = { ...GPU_TUNING, isDeterministic: true };

/** Contexts at every edge: one token, one block less one, exactly, one past, splits, ragged mixtures. */
const DECODES: ChunkShape[] = [1, 15, 16, 17, 32, 33, 64, 65, 130, 300].map((length) => ({
  start: length - 1,
  count: 1,
}));
const PREFILLS: ChunkShape[] = [
  { start: 0, count: 2 },
  { start: 0, count: 16 },
  { start: 16, count: 17 },
  { start: 5, count: 37 },
  { start: 130, count: 9 },
];

const SHAPES: [name: string, shape: KvShape & { H: number }][] = [
  ["MHA, 32 dims", { H: 2, G: 2, D: 32, BLOCK_SIZE: 16, KV_DTYPE: "f16" }],
  ["GQA 3, 32 dims", { H: 6, G: 2, D: 32, BLOCK_SIZE: 8, KV_DTYPE: "f16" }],
  ["GQA 8, 64 dims", { H: 8, G: 1, D: 64, BLOCK_SIZE: 16, KV_DTYPE: "f32" }],
  ["GQA 3, 128 dims", { H: 3, G: 1, D: 128, BLOCK_SIZE: 32, KV_DTYPE: "f16" }],
  ["int8", { H: 6, G: 2, D: 32, BLOCK_SIZE: 8, KV_DTYPE: "int8" }],
  ["fp8", { H: 4, G: 2, D: 64, BLOCK_SIZE: 16, KV_DTYPE: "fp8" }],
  ["int4", { H: 6, G: 2, D: 32, BLOCK_SIZE: 16, KV_DTYPE: "int4" }],
  ["int4, 128 dims", { H: 3, G: 1, D: 128, BLOCK_SIZE: 32, KV_DTYPE: "int4" }],
];

/** Buffers of calls that are looked at and not run. */
const LABELS = new Proxy({} as Parameters<typeof pagedAttentionCalls>[1], {
  get: (_, name) => ({ label: String(name), bytes: 4 }),
});

/** Attention of a step by the kernels and by the definition; `chunks` are different sequences each. */
function attend(
  gpu: WebGpuDevice,
  chunks: readonly ChunkShape[],
  shape: KvShape & { H: number },
  tuning: Tuning,
) {
  const { H, G, D, BLOCK_SIZE } = shape;
  const numBlocks = 301;
  const contextLens = chunks.map(({ start, count }) => start + count);
  const step = packStep(chunks, {
    blockSize: BLOCK_SIZE,
    numBlocks,
    queryTile: attentionQueryTile(shape, tuning),
    splitLen: tuning.splitLen,
    spans: [spanOf(shape)],
  });
  const rows = step.dims.numTokens;
  return runBoth(
    gpu,
    {
      step: step.words,
      qkv: noise(rows * (H + 2 * G) * D, 9, 4),
      kv: filledKv(shape, numBlocks, step.tables, contextLens),
      // Room for no split but the step's.
      partials: new Float32Array(Math.max(1, step.dims.numSplits[0]!) * H * D).fill(NaN),
      stats: new Float32Array(Math.max(1, step.dims.numSplits[0]!) * H * 2).fill(NaN),
      out: new Float32Array((rows + 1) * H * D).fill(7),
    },
    (b) => pagedAttentionCalls(shape, b as never, tuning),
    step.dims,
    "out",
  );
}

async function checkAttention(
  gpu: WebGpuDevice,
  chunks: readonly ChunkShape[],
  shape: KvShape & { H: number },
  tuning: Tuning,
): Promise<void> {
  const { H, D } = shape;
  const rows = chunks.reduce((sum, { count }) => sum + count, 0);
  const { actual, expected } = await attend(gpu, chunks, shape, tuning);
  const error = worstError(actual.f32, expected.f32);
  assert(error < 1e-5, `${JSON.stringify(shape)}: error ${error}`);
  assert(actual.f32[rows * H * D] === 7, "wrote past the last row");
  const first = expected.f32.subarray(0, H * D);
  assert(first.some((value) => Math.abs(value) > 1e-3), "the definition computed nothing");
}

for (const [name, shape] of SHAPES) {
  gpuTest(`paged attention agrees with the definition: ${name}`, async (gpu) => {
    await checkAttention(gpu, DECODES, shape, SOFTWARE_TUNING);
    await checkAttention(gpu, PREFILLS, shape, SOFTWARE_TUNING);
    await checkAttention(gpu, [...PREFILLS, ...DECODES], shape, SOFTWARE_TUNING);
  });
}

/** Vectors of less than eight loads and of more, whole and not; rows of a tile that fill its lanes and do not. */
const SHARING_SHAPES: [name: string, shape: KvShape & { H: number }][] = [
  ...SHAPES,
  ["MHA, 8 dims", { H: 2, G: 2, D: 8, BLOCK_SIZE: 16, KV_DTYPE: "f16" }],
  ["GQA 5, 80 dims", { H: 5, G: 1, D: 80, BLOCK_SIZE: 4, KV_DTYPE: "f16" }],
  ["MQA 36, no whole subgroups", { H: 36, G: 1, D: 16, BLOCK_SIZE: 16, KV_DTYPE: "f16" }],
  ["GQA 2, 12 dims", { H: 4, G: 2, D: 12, BLOCK_SIZE: 16, KV_DTYPE: "f16" }],
];
const SHARING_LOADS: Tuning = { ...SOFTWARE_TUNING, attentionSubgroups: true };

for (const [name, shape] of SHARING_SHAPES) {
  gpuTest(
    `paged attention of lanes that share loads agrees with the definition: ${name}`,
    async (gpu) => {
      if (gpu.capabilities.subgroupMinSize < 8) {
        // deno-lint-ignore no-console -- a skip must say why
        console.warn("skipped: the adapter grants no subgroups of eight");
      } else await checkAttention(gpu, [...PREFILLS, ...DECODES], shape, SHARING_LOADS);
    },
  );
}

gpuTest(
  "paged attention of lanes that share loads gives a row the same bits in any chunk",
  async (gpu) => {
    if (gpu.capabilities.subgroupMinSize < 8) {
      // deno-lint-ignore no-console -- a skip must say why
      console.warn("skipped: the adapter grants no subgroups of eight");
      return;
    }
    const shape = { H: 6, G: 2, D: 32, BLOCK_SIZE: 16, KV_DTYPE: "f16" } as const;
    const width = (shape.H + 2 * shape.G) * shape.D;
    const queries = noise(21 * width, 9, 4);
    /** Rows [first, 21) of one sequence of 21 tokens, all of whose K and V are there. */
    const rowsFrom = async (first: number) => {
      const chunk = { start: first, count: 21 - first };
      const queryTile = attentionQueryTile(shape, SHARING_LOADS);
      const step = packStep([chunk], { blockSize: 16, numBlocks: 301, queryTile });
      const out = new Float32Array(chunk.count * shape.H * shape.D);
      const { actual } = await runBoth(
        gpu,
        {
          step: step.words,
          qkv: queries.subarray(first * width),
          kv: filledKv(shape, 301, step.tables, [21]),
          partials: new Float32Array(shape.H * shape.D),
          stats: new Float32Array(shape.H * 2),
          out,
        },
        (b) => pagedAttentionCalls(shape, b as never, SHARING_LOADS),
        step.dims,
        "out",
      );
      return actual.u32;
    };
    const whole = await rowsFrom(0);
    for (const first of [1, 5, 8, 13, 19]) {
      assertEquals([...await rowsFrom(first)], [...whole.subarray(first * shape.H * shape.D)]);
    }
  },
);

/** What differs where K and V are shared: heads together, lanes along D, columns left over. */
const GPU_SHAPES: [name: string, shape: KvShape & { H: number }][] = [
  ...SHAPES,
  ["MQA 12, 64 dims", { H: 12, G: 1, D: 64, BLOCK_SIZE: 16, KV_DTYPE: "f16" }],
  ["GQA 5, 96 dims", { H: 5, G: 1, D: 96, BLOCK_SIZE: 4, KV_DTYPE: "f16" }],
  ["GQA 2, 40 dims", { H: 4, G: 2, D: 40, BLOCK_SIZE: 16, KV_DTYPE: "f32" }],
  ["GQA 8, 256 dims", { H: 8, G: 1, D: 256, BLOCK_SIZE: 16, KV_DTYPE: "f16" }],
  ["MHA, 8 dims in int8", { H: 2, G: 2, D: 8, BLOCK_SIZE: 16, KV_DTYPE: "int8" }],
  ["MHA, 8 dims in int4", { H: 2, G: 2, D: 8, BLOCK_SIZE: 16, KV_DTYPE: "int4" }],
  ["MHA, 48 dims in int4", { H: 1, G: 1, D: 48, BLOCK_SIZE: 16, KV_DTYPE: "int4" }],
  ["odd loads, by lone lanes", { H: 2, G: 1, D: 12, BLOCK_SIZE: 16, KV_DTYPE: "f16" }],
];

for (const [name, shape] of GPU_SHAPES) {
  gpuTest(`paged attention as tuned for GPUs agrees with the definition: ${name}`, async (gpu) => {
    await checkAttention(gpu, [...PREFILLS, ...DECODES], shape, GPU_TUNING);
  });
}

for (const [name, shape] of SHAPES) {
  gpuTest(`paged attention by splits on GPUs agrees with the definition: ${name}`, async (gpu) => {
    await checkAttention(gpu, [...PREFILLS, ...DECODES], shape, DETERMINISTIC_GPU_TUNING);
  });
}

/** Shapes whose lanes add up by shuffles among as many as a small subgroup has, of every dtype. */
const SHUFFLING: [lanes: number, shapes: [name: string, shape: KvShape & { H: number }][]][] = [
  [8, [
    // In int4 heads of 32 are too short.
    ...SHAPES.filter(([, { D, KV_DTYPE }]) => D > 32 || KV_DTYPE !== "int4"),
    ["GQA 2, 64 dims in int4", { H: 4, G: 2, D: 64, BLOCK_SIZE: 16, KV_DTYPE: "int4" }],
    ["GQA 5, 96 dims", { H: 5, G: 1, D: 96, BLOCK_SIZE: 4, KV_DTYPE: "f16" }],
    ["GQA 2, 40 dims, two slices", { H: 4, G: 2, D: 40, BLOCK_SIZE: 16, KV_DTYPE: "f16" }],
    ["GQA 8, 256 dims", { H: 8, G: 1, D: 256, BLOCK_SIZE: 16, KV_DTYPE: "f16" }],
    ["MQA, 512 dims, no lanes to a column", { H: 2, G: 1, D: 512, BLOCK_SIZE: 8, KV_DTYPE: "f16" }],
  ]],
  [4, [
    ["GQA 8, 64 dims", { H: 8, G: 1, D: 64, BLOCK_SIZE: 16, KV_DTYPE: "f16" }],
    ["GQA 3, 128 dims", { H: 3, G: 1, D: 128, BLOCK_SIZE: 32, KV_DTYPE: "f16" }],
    ["GQA 2, 128 dims in int8", { H: 4, G: 2, D: 128, BLOCK_SIZE: 16, KV_DTYPE: "int8" }],
  ]],
];

for (const [shuffleLanes, shapes] of SHUFFLING) {
  for (const [name, shape] of shapes) {
    gpuTest(
      `paged attention by shuffles among ${shuffleLanes} lanes agrees with the definition: ${name}`,
      async (gpu) => {
        if (gpu.capabilities.subgroupMinSize < shuffleLanes) {
          // deno-lint-ignore no-console -- a skip must say why
          console.warn(`skipped: the adapter grants no subgroups of ${shuffleLanes}`);
          return;
        }
        const tuning = { ...GPU_TUNING, shuffleLanes };
        const calls = pagedAttentionCalls(shape, LABELS, tuning);
        assertEquals(calls[0]!.constants.SHUFFLE_LANES, shuffleLanes);
        await checkAttention(gpu, DECODES, shape, tuning);
      },
    );
  }
}

Deno.test("pagedAttentionCalls() lets lanes shuffle only where most of them have a column", () => {
  const lanesOf = (D: number, shuffleLanes: number) => {
    const shape = { H: 2, G: 1, D, BLOCK_SIZE: 16, KV_DTYPE: "f16" } as const;
    const [decode] = pagedAttentionCalls(shape, LABELS, { ...GPU_TUNING, shuffleLanes });
    const { SHUFFLE_LANES, COLUMN_GROUPS } = decode!.constants;
    return [SHUFFLE_LANES, COLUMN_GROUPS];
  };
  assertEquals([4, 8, 32].map((lanes) => lanesOf(128, lanes)), [[4, 4], [8, 4], [32, 4]]);
  assertEquals([4, 8, 32].map((lanes) => lanesOf(32, lanes)), [[1, 16], [8, 8], [32, 16]]);
  // Four slices of a position need four lanes that add up.
  assertEquals([1, 2].map((lanes) => lanesOf(256, lanes)), [[1, 2], [1, 2]]);
});

gpuTest(
  "paged attention as tuned for GPUs joins more splits than a workgroup has lanes",
  async (gpu) => {
    const shape = { H: 2, G: 1, D: 8, BLOCK_SIZE: 32, KV_DTYPE: "f16" } as const;
    await checkAttention(gpu, [{ start: 9000, count: 1 }], shape, GPU_TUNING);
  },
);

gpuTest("paged attention gives a sequence the same bits in any batch", async (gpu) => {
  const whole = { H: 4, G: 2, D: 32, BLOCK_SIZE: 16, KV_DTYPE: "int8" } as const;
  const windowed = { ...whole, WINDOW: 70, NUM_SINKS: 5 };
  const cases = [whole, windowed].flatMap((shape) =>
    [SOFTWARE_TUNING, GPU_TUNING].map((tuning) => [shape, tuning] as const)
  );
  for (const [shape, tuning] of cases) {
    const alone = await attend(gpu, [{ start: 150, count: 1 }], shape, tuning);
    const chunks = [{ start: 150, count: 1 }, { start: 700, count: 1 }, { start: 3, count: 9 }];
    const together = await attend(gpu, chunks, shape, tuning);
    const row = shape.H * shape.D;
    assertEquals(together.actual.u32.slice(0, row), alone.actual.u32.slice(0, row));
  }
});
