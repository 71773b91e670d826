import { type MatrixUnit, matrixUnitOf } from "../kernels/tuning/matrix_tuning.ts";
import { productCalls } from "../kernels/matmul/product.ts";
import { HEADER_WORDS, NO_WORK, STEP } from "../kernels/step.ts";
import { tuningFor } from "../kernels/tuning/tuning.ts";
import type { Device } from "../src/device/device.ts";
import { type DeviceBuffer, type Kernel, kernelCall } from "../src/device/kernel.ts";
import { asTextures } from "../src/runner/weight_textures.ts";
import { createWeight } from "../src/runner/weight_buffers.ts";
import { CAREFUL, timeCalls } from "./dispatch_timing.ts";
import type { TimingOptions } from "../src/runner/call_timing.ts";
import { GEMM_CANDIDATES, gemmCall, type GemmShape } from "./ceiling_gemm.ts";
import { matrixChainsCall, matrixChainsWork } from "./ceiling_matrix.ts";

/** What the device can do at best, measured now: the bounds beside every throughput. */
export interface Ceiling {
  /** Bytes read and written per second by a copy, a kernel's or the queue's own, in GB/s. */
  readonly copyGBps: number;
  /** Multiply-adds on registers, two operations each, in GFLOP/s. */
  readonly fmaGflops: number;
  /** The best known matrix product, f32 sums, in GFLOP/s: what loads and stores leave of the above. */
  readonly gemmGflops: number;
  /** What the matrix units that models use do on registers, in GFLOP/s; absent where there are none. */
  readonly matrixGflops?: number;
}

/** What products of many rows can come to at best, in GFLOP/s. */
export function productGflops({ gemmGflops, matrixGflops = 0 }: Ceiling): number {
  return Math.max(gemmGflops, matrixGflops);
}

const LANES = 64;
/** Per buffer: beyond any cache on a GPU; on a CPU, whose caches are small, less time. */
const COPY_BYTES = { gpu: 512 * 2 ** 20, software: 64 * 2 ** 20 };
const COPY_GROUPS_X = 32_768;
/** Copies between two waits: a wait takes up to 10 ms. */
const QUEUE_COPIES = 16;
const FMA_GROUPS = { gpu: 16_384, software: 512 };
const MATRIX_GROUPS = 4096;
/** llvmpipe ends a lane's loops after 65,535 turns. */
const FMA_ROUNDS = 2000;
/** Independent vec4 chains per lane, to hide the latency of one. */
const FMA_CHAINS = 8;
const GEMM: Readonly<Record<"gpu" | "software", GemmShape>> = {
  gpu: { M: 4096, N: 4096, K: 4096 },
  software: { M: 256, N: 512, K: 512 },
};

/** The ceilings are measured on GPUs only, so these two have no use for a definition. */
function noReference(): never {
  throw new TypeError("a ceiling is measured on WebGPU only");
}

const copy: Kernel<Record<never, never>> = {
  name: "copy",
  source: `
@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;
@compute @workgroup_size(${LANES})
fn copy(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.y * ${COPY_GROUPS_X * LANES}u + id.x;
  out[i] = source[i];
}`,
  bindings: [{ name: "source", access: "read" }, { name: "out", access: "read_write" }],
  reference: noReference,
};

const fmaChains: Kernel<Record<never, never>> = {
  name: "fma_chains",
  source: `
@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
@compute @workgroup_size(${LANES})
fn fma_chains(@builtin(global_invocation_id) id: vec3<u32>) {
  let m = vec4(0.9 + f32(id.x) * 1e-9);
  //# for i in 0..${FMA_CHAINS}
  var a\${i} = vec4(\${i}.0);
  //# end
  for (var n = 0u; n < ${FMA_ROUNDS}u; n++) {
    //# for i in 0..${FMA_CHAINS}
    a\${i} = fma(a\${i}, m, m);
    //# end
  }
  var sum = vec4(0.0);
  //# for i in 0..${FMA_CHAINS}
  sum += a\${i};
  //# end
  out[id.x] = sum;
}`,
  bindings: [{ name: "out", access: "read_write" }],
  reference: noReference,
};

/** Best of several runs; undefined on the reference device, whose ceiling these do not measure. */
export async function measureCeiling(
  device: Device,
  effort: TimingOptions = CAREFUL,
): Promise<Ceiling | undefined> {
  if (device.kind === "cpu") return undefined;
  const kind = device.isSoftware ? "software" : "gpu";
  const unit = matrixUnitOf(device.capabilities);
  return {
    copyGBps: await measureCopy(device, COPY_BYTES[kind], effort),
    fmaGflops: await measureFma(device, FMA_GROUPS[kind], effort),
    gemmGflops: await measureGemm(device, GEMM[kind], effort),
    ...unit === undefined ? {} : { matrixGflops: await measureMatrices(device, unit, effort) },
  };
}

/** The better of a copying kernel and of the queue's copy: on a software adapter that is the host's own. */
async function measureCopy(
  device: Device,
  wanted: number,
  effort: TimingOptions,
): Promise<number> {
  const bytes = Math.min(wanted, 2 ** Math.floor(Math.log2(device.maxBindingBytes)));
  return await withBuffers(device, { source: bytes, out: bytes }, async (buffers) => {
    const byQueue = await timeQueueCopy(device, buffers, effort);
    const groups = bytes / 16 / LANES;
    const x = Math.min(groups, COPY_GROUPS_X);
    const call = kernelCall(copy, {
      constants: {},
      buffers,
      workgroups: () => [x, groups / x, 1] as const,
    });
    const timed = { calls: [call], dims: undefined, readFrom: buffers.out! };
    return 2 * bytes / Math.min(byQueue, await timeCalls(device, timed, effort)) / 1e9;
  });
}

/** Seconds of the best of several copies. */
async function timeQueueCopy(
  device: Device,
  { source, out }: Readonly<Record<string, DeviceBuffer>>,
  { numRounds }: TimingOptions,
): Promise<number> {
  let best = Infinity;
  for (let i = 0; i < numRounds; i++) {
    const began = performance.now();
    for (let n = 0; n < QUEUE_COPIES; n++) device.copyBuffer(source!, out!, out!.bytes);
    await device.read(out!, 0, 4);
    best = Math.min(best, (performance.now() - began) / 1000 / QUEUE_COPIES);
  }
  return best;
}

async function measureFma(
  device: Device,
  groups: number,
  effort: TimingOptions,
): Promise<number> {
  return await withBuffers(device, { out: groups * LANES * 16 }, async (buffers) => {
    const call = kernelCall(fmaChains, {
      constants: {},
      buffers,
      workgroups: () => [groups, 1, 1] as const,
    });
    const flops = groups * LANES * FMA_ROUNDS * FMA_CHAINS * 4 * 2;
    const timed = { calls: [call], dims: undefined, readFrom: buffers.out! };
    return flops / await timeCalls(device, timed, effort) / 1e9;
  });
}

async function measureMatrices(
  device: Device,
  unit: MatrixUnit,
  effort: TimingOptions,
): Promise<number> {
  const { bytes, flops } = matrixChainsWork(unit, MATRIX_GROUPS);
  return await withBuffers(device, { out: bytes }, async ({ out }) => {
    const calls = [matrixChainsCall(unit, MATRIX_GROUPS, out!)];
    const seconds = await timeCalls(device, { calls, dims: undefined, readFrom: out! }, effort);
    return flops / seconds / 1e9;
  });
}

/** The better of square products made for this and of the one that models use without matrix units. */
async function measureGemm(
  device: Device,
  shape: GemmShape,
  effort: TimingOptions,
): Promise<number> {
  return Math.max(
    await measurePlainGemm(device, shape, effort),
    await measureMatmul(device, shape, effort),
  );
}

async function measureMatmul(
  device: Device,
  { M, N, K }: GemmShape,
  effort: TimingOptions,
): Promise<number> {
  const sizes = { step: 4 * HEADER_WORDS, x: 4 * M * K, y: 4 * M * N };
  const spec = { name: "w", tensors: ["w"], shapes: [[N, K]] };
  // As models hold it: where that is faster, as an image.
  const { shards } = await asTextures(device, spec, await createWeight(device, spec, "f16"));
  return await withBuffers(device, sizes, async (buffers) => {
    const header = new Uint32Array(HEADER_WORDS);
    header[STEP.numTokens] = M;
    device.write(buffers.step!, 0, header);
    const dims = { ...NO_WORK, numTokens: M };
    const named = { ...buffers as Record<"step" | "x" | "y", DeviceBuffer>, w: shards };
    const calls = productCalls(
      { label: "ceiling", rows: "tokens", n: N, k: K, dtype: "f16" },
      // Products of f16 quantize nothing.
      { ...named, codes: named.x, scales: named.x },
      { ...tuningFor(device.capabilities), matrixTiles: [] },
    ).filter(({ workgroups }) => workgroups(dims).every((count) => count > 0));
    const seconds = await timeCalls(device, { calls, dims, readFrom: buffers.y! }, effort);
    return 2 * M * N * K / seconds / 1e9;
  }).finally(() => shards.forEach(({ buffer }) => device.destroyBuffer(buffer)));
}

async function measurePlainGemm(
  device: Device,
  shape: GemmShape,
  effort: TimingOptions,
): Promise<number> {
  const { M, N, K } = shape;
  const sizes = { a: 4 * M * K, b: 4 * K * N, c: 4 * M * N };
  return await withBuffers(device, sizes, async (buffers) => {
    let gflops = 0;
    for (const candidate of GEMM_CANDIDATES) {
      const calls = [gemmCall(shape, candidate, buffers)];
      const timed = { calls, dims: undefined, readFrom: buffers.c! };
      const seconds = await timeCalls(device, timed, effort);
      gflops = Math.max(gflops, 2 * M * N * K / seconds / 1e9);
    }
    return gflops;
  });
}

/** Buffers of the given bytes for as long as `run` takes. */
async function withBuffers<T>(
  device: Device,
  sizes: Readonly<Record<string, number>>,
  run: (buffers: Record<string, DeviceBuffer>) => Promise<T>,
): Promise<T> {
  const buffers: Record<string, DeviceBuffer> = {};
  try {
    for (const [name, bytes] of Object.entries(sizes)) {
      buffers[name] = await device.createBuffer(name, bytes);
    }
    return await run(buffers);
  } finally {
    for (const buffer of Object.values(buffers)) device.destroyBuffer(buffer);
  }
}
