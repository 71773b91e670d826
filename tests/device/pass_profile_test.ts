import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Kernel, kernelCall } from "../../src/device/kernel.ts";
import { gpuTest } from "../support/agreement.ts";

/** Adds one as often as it has turns, by one lane. */
const count: Kernel<{ TURNS: number }> = {
  name: "count",
  source: `
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(1)
fn count() { for (var i = 0u; i < \${TURNS}u; i++) { out[0] += 1; } }`,
  bindings: [{ name: "out", access: "read_write" }],
  reference() {},
};

gpuTest(
  "WebGpuDevice.profile() runs each call that has work once, and tells times of all",
  async (gpu) => {
    if (!gpu.capabilities.hasTimestamps) return;
    const out = await gpu.createBuffer("out", 16);
    const turns = (TURNS: number, isOn = true) =>
      kernelCall(count, {
        constants: { TURNS },
        buffers: { out },
        workgroups: () => [isOn ? 1 : 0, 1, 1] as const,
      });
    const program = await gpu.compile([turns(1), turns(1000), turns(20_000, false)]);
    for (let i = 0; i < 2; i++) {
      const times = await gpu.profile(program, null);
      assertEquals(times.length, 3);
      assert(times.every((nanos) => nanos >= 0) && times.some((nanos) => nanos > 0), `${times} ns`);
    }
    const [total] = new Uint32Array((await gpu.read(out, 0, 4)).buffer);
    assertEquals(total, 2 * 1001);
  },
);

gpuTest(
  "WebGpuDevice.profile() refuses more calls than a query set has timestamps for",
  async (gpu) => {
    if (!gpu.capabilities.hasTimestamps) return;
    const out = await gpu.createBuffer("out", 16);
    const call = kernelCall(count, {
      constants: { TURNS: 1 },
      buffers: { out },
      workgroups: () => [1, 1, 1] as const,
    });
    const program = await gpu.compile(Array.from({ length: 4096 }, () => call));
    await assertRejects(() => gpu.profile(program, null), RangeError, "4096");
  },
);
