import type { Device } from "../src/device/device.ts";
import { type Kernel, kernelCall } from "../src/device/kernel.ts";

/** What the device can do at best, measured now: the bounds beside every throughput. */
export interface Ceiling {
  /** Bytes read and written per second by a kernel that only copies, in GB/s. */
  readonly copyGBps: number;
  /** Multiply-adds on registers, two operations each, in GFLOP/s. */
  readonly fmaGflops: number;
}

const LANES = 64;
const COPY_BYTES = 32 * 2 ** 20;
const FMA_GROUPS = 512;
const FMA_ROUNDS = 2000;
/** Independent vec4 chains per lane, to hide the latency of one. */
const FMA_CHAINS = 8;

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
fn copy(@builtin(global_invocation_id) id: vec3<u32>) { out[id.x] = source[id.x]; }`,
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
export async function measureCeiling(device: Device): Promise<Ceiling | undefined> {
  if (device.kind === "cpu") return undefined;
  const source = await device.createBuffer("source", COPY_BYTES);
  const out = await device.createBuffer("out", COPY_BYTES);
  const copying = await device.compile([kernelCall(copy, {
    constants: {},
    buffers: { source, out },
    workgroups: () => [COPY_BYTES / 16 / LANES, 1, 1] as const,
  })]);
  const adding = await device.compile([kernelCall(fmaChains, {
    constants: {},
    buffers: { out },
    workgroups: () => [FMA_GROUPS, 1, 1] as const,
  })]);
  const best = async (program: typeof copying) => {
    let seconds = Infinity;
    for (let i = 0; i < 8; i++) {
      const began = performance.now();
      await device.run(program, undefined, { buffer: out, bytes: 4 });
      seconds = Math.min(seconds, (performance.now() - began) / 1000);
    }
    return seconds;
  };
  const flops = FMA_GROUPS * LANES * FMA_ROUNDS * FMA_CHAINS * 4 * 2;
  const ceiling = {
    copyGBps: 2 * COPY_BYTES / await best(copying) / 1e9,
    fmaGflops: flops / await best(adding) / 1e9,
  };
  device.destroyBuffer(source);
  device.destroyBuffer(out);
  return ceiling;
}
