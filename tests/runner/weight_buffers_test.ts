import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { matrixBytes } from "../../src/core/weight_format.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import {
  createWeight,
  cutOutputs,
  weightBytes,
  weightShape,
} from "../../src/runner/weight_buffers.ts";
import { BoundedDevice } from "../support/bounded_device.ts";
import { WEIGHT_DTYPES } from "../support/weight_fixture.ts";

const GATE_UP = { name: "gate_up", tensors: ["g", "u"], shapes: [[10, 8], [10, 8]] };

Deno.test("weightShape() counts rows of stacked tensors, and pairs those that belong together", () => {
  const qkv = { name: "qkv", tensors: ["q", "k"], shapes: [[12, 8], [4, 8]] };
  assertEquals(weightShape(qkv), { name: "qkv", numOutputs: 16, rowsPerOutput: 1, columns: 8 });
  assertEquals(weightShape({ ...GATE_UP, isGateUp: true }), {
    name: "gate_up",
    numOutputs: 10,
    rowsPerOutput: 2,
    columns: 8,
  });
  const fused = { name: "gate_up", tensors: ["gu"], shapes: [[20, 8]], isGateUp: true };
  assertEquals(weightShape(fused), weightShape({ ...GATE_UP, isGateUp: true }));
  const odd = { ...fused, shapes: [[21, 8]] };
  assertThrows(() => weightShape(odd), Error, "gate_up has 21 rows, which are no pairs");
  const norm = { name: "norm", tensors: ["n"], shapes: [[36]] };
  assertEquals(weightShape(norm), { name: "norm", numOutputs: 1, rowsPerOutput: 1, columns: 36 });
  const biases = { name: "qkv", tensors: ["q", "k", "v"], shapes: [[96], [32], [32]] };
  assertEquals(weightShape(biases), {
    ...{ name: "qkv", numOutputs: 1, rowsPerOutput: 1, columns: 160 },
  });
});

Deno.test("cutOutputs() covers every output once, in as few shards as the limit allows", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...WEIGHT_DTYPES),
      fc.integer({ min: 1, max: 300 }),
      fc.constantFrom(1, 2),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 20_000 }),
      (dtype, numOutputs, rowsPerOutput, fours, room) => {
        const columns = 4 * fours;
        const shape = { name: "w", numOutputs, rowsPerOutput, columns };
        const bytesOf = (count: number) => matrixBytes(dtype, count * rowsPerOutput, columns);
        const maxBytes = bytesOf(1) + 16 + room;
        const shards = cutOutputs(shape, dtype, maxBytes);
        assertEquals(shards[0]!.begin, 0);
        assertEquals(shards.at(-1)!.end, numOutputs);
        shards.forEach(({ begin, end }, i) => {
          assert(begin < end, "an empty part");
          if (i > 0) assertEquals(begin, shards[i - 1]!.end);
          assert(Math.ceil(bytesOf(end - begin) / 16) * 16 <= maxBytes, "cannot be bound");
        });
        const usable = Math.floor(maxBytes / 16) * 16;
        const most = Math.floor(usable / bytesOf(1));
        assertEquals(shards.length, Math.ceil(numOutputs / most));
        const sizes = shards.slice(0, -1).map(({ begin, end }) => end - begin);
        assert(sizes.every((size) => size === sizes[0]), "shards of one size share their kernels");
      },
    ),
    { seed: 11, numRuns: 500 },
  );
});

Deno.test("cutOutputs() keeps a matrix that just fits whole, and cuts one that just does not", () => {
  const shape = { name: "w", numOutputs: 8, rowsPerOutput: 1, columns: 64 };
  assertEquals(cutOutputs(shape, "f16", 1024), [{ begin: 0, end: 8 }]);
  assertEquals(cutOutputs(shape, "f16", 1023), [{ begin: 0, end: 4 }, { begin: 4, end: 8 }]);
});

Deno.test("cutOutputs() refuses an output that cannot be bound, with the numbers", () => {
  const shape = { name: "w", numOutputs: 3, rowsPerOutput: 2, columns: 64 };
  assertThrows(
    () => cutOutputs(shape, "f32", 511),
    RangeError,
    "w cannot be cut: one output (2 x 64 in f32) needs 512 bytes, but this device binds at most 511",
  );
});

Deno.test("createWeight() names each part by its outputs and counts all of their bytes", async () => {
  const spec = { ...GATE_UP, isGateUp: true };
  const device = new BoundedDevice(new ReferenceDevice(), 200);
  const weight = await createWeight(device, spec, "f16");
  assertEquals(
    weight.shards.map(({ buffer, begin, end }) => [buffer.label, buffer.bytes, begin, end]),
    [["gate_up [0, 5)", 160, 0, 5], ["gate_up [5, 10)", 160, 5, 10]],
  );
  assertEquals(weightBytes(weight), 320);
  const whole = await createWeight(new ReferenceDevice(), spec, "f16");
  assertEquals(whole.shards.map(({ buffer }) => buffer.label), ["gate_up"]);
});

Deno.test("createWeight() keeps no part where the device has no room for all", async () => {
  class Full extends BoundedDevice {
    override async createBuffer(label: string, bytes: number) {
      if (this.buffers.length === 1) throw new RangeError("full");
      return await super.createBuffer(label, bytes);
    }
  }
  const device = new Full(new ReferenceDevice(), 100);
  await assertRejects(() => createWeight(device, GATE_UP, "f16"), RangeError, "full");
  assertEquals(device.buffers, []);
});
