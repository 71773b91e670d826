import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { weightValues } from "../../kernels/weights/weight_dtype.ts";
import { quantizedFormat } from "../../src/core/weight_format.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import { packRows } from "../../src/weights/pack_rows.ts";
import { noise } from "../support/agreement.ts";

const DTYPES = ["int8g32", "int8g128", "int4g32", "int4g128"] as const;

Deno.test("weightValues() gives the weights that packRows() packed, in any shape", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...DTYPES),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 80 }),
      fc.integer({ min: 1, max: 1000 }),
      (dtype, rows, fours, seed) => {
        const columns = 4 * fours;
        const { bits, groupSize } = quantizedFormat(dtype);
        const groupsPerRow = Math.ceil(columns / groupSize);
        const codes = Uint8Array.from(
          noise(rows * columns, seed, 2 ** (bits - 1)),
          (value) => value + 2 ** (bits - 1),
        );
        const scales = new Float16Array(noise(rows * groupsPerRow, seed + 1));
        const packed = packRows({ codes, scales }, columns, dtype);
        const buffer = new HostBuffer("w", packed.codes.byteLength + packed.scales.byteLength);
        buffer.u32.set(packed.codes);
        buffer.u32.set(packed.scales, packed.codes.length);
        weightValues(buffer, dtype, rows, columns).forEach((value, i) => {
          const group = Math.floor(i / columns) * groupsPerRow +
            Math.floor((i % columns) / groupSize);
          const signed = bits === 8 ? (codes[i]! << 24) >> 24 : codes[i]! - 8;
          const expected = scales[group]! * signed;
          assert(value === Math.fround(expected), `${dtype} ${i}: ${value}, not ${expected}`);
        });
      },
    ),
    { seed: 3, numRuns: 200 },
  );
});

Deno.test("weightValues() decodes once, and again after a write", () => {
  const buffer = new HostBuffer("w", 8);
  buffer.write(0, new Uint8Array(Uint32Array.of(0x04030201, 0x3c00).buffer));
  const values = weightValues(buffer, "int8g32", 1, 4);
  assertEquals([...values], [1, 2, 3, 4]);
  assert(weightValues(buffer, "int8g32", 1, 4) === values, "decoded twice");
  buffer.write(4, new Uint8Array(Uint32Array.of(0x4000).buffer));
  assertEquals([...weightValues(buffer, "int8g32", 1, 4)], [2, 4, 6, 8]);
});
