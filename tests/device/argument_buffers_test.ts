import { assert, assertEquals } from "@std/assert";
import { ArgumentBuffers } from "../../src/device/argument_buffers.ts";
import type { Kernel } from "../../src/device/kernel.ts";
import { argsWgsl, kernelCall } from "../../src/device/kernel.ts";
import { gpuTest } from "../support/agreement.ts";

/** Memory that a test reads, in place of a device's. */
function makeBuffer({ label, size, usage }: GPUBufferDescriptor): GPUBuffer {
  const memory = new ArrayBuffer(size);
  const buffer = { label, size, usage, getMappedRange: () => memory, unmap: () => {} };
  return buffer as unknown as GPUBuffer;
}

Deno.test("ArgumentBuffers keeps equal arguments once, in the order of the contract", () => {
  const buffers = new ArgumentBuffers({ createBuffer: makeBuffer });
  const call = { args: ["N", "FIRST"], constants: { FIRST: 3, N: 70, TILE: 8 } };
  const buffer = buffers.get(call);
  assertEquals([...new Uint32Array(buffer.getMappedRange())], [70, 3, 0, 0]);
  assert(buffers.get({ ...call, constants: { ...call.constants, TILE: 4 } }) === buffer);
  assert(buffers.get({ ...call, constants: { ...call.constants, N: 71 } }) !== buffer);
});

/** Writes its argument to where its other argument says. */
const put: Kernel<{ AT: number; VALUE: number }> = {
  name: "put",
  source: argsWgsl(["AT", "VALUE"]) + `
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(1)
fn put() { out[args.AT] = args.VALUE; }
`,
  bindings: [{ name: "out", access: "read_write" }],
  args: ["AT", "VALUE"],
  reference: ({ out }, { AT, VALUE }) => out!.u32[AT] = VALUE,
};

gpuTest("calls that share a pipeline have arguments of their own", async (gpu) => {
  const out = await gpu.createBuffer("out", 16);
  const program = await gpu.compile([[0, 5], [3, 7], [1, 9]].map(([AT, VALUE]) =>
    kernelCall(put, {
      constants: { AT: AT!, VALUE: VALUE! },
      buffers: { out },
      workgroups: () => [1, 1, 1],
    })
  ));
  const words = await gpu.run(program, {}, { buffer: out, bytes: 16 });
  assertEquals([...words], [5, 9, 0, 7]);
  gpu.destroyBuffer(out);
});
