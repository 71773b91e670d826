import { assert, assertEquals, assertThrows } from "@std/assert";
import { blockValues } from "../../kernels/weights/block_values.ts";
import { quantizedLayout } from "../../src/core/weight_format.ts";
import { quantize } from "../../src/weights/quantize.ts";
import { quantizeBlocks } from "../../src/weights/quantize_blocks.ts";
import { noise } from "../support/agreement.ts";

/** What weights become, by the definition of q4_k. */
function quantized(values: Float32Array, columns: number): Float32Array {
  const rows = values.length / columns;
  const { words, scaleWord } = quantizedLayout("q4_k", rows, columns);
  const { codes, scales } = quantizeBlocks(values, columns);
  const matrix = new Uint32Array(words);
  assertEquals([codes.length, scales.length], [scaleWord, words - scaleWord]);
  matrix.set(codes);
  matrix.set(scales, scaleWord);
  return blockValues(matrix, "q4_k", rows, columns);
}

function squaredError(values: Float32Array, others: ArrayLike<number>): number {
  return values.reduce((sum, value, i) => sum + (value - others[i]!) ** 2, 0);
}

/** Normally distributed (Box 1958). */
function normal(length: number, seed: number): Float32Array {
  const angles = noise(length, seed + 1000);
  return noise(length, seed).map((x, i) =>
    Math.sqrt(-2 * Math.log(Math.abs(x))) * Math.cos(Math.PI * angles[i]!)
  );
}

Deno.test("quantizeBlocks() gives weights of the format back as they are, in a shorter block too", () => {
  // In units of 1/64: the largest scale and minimum are 63, so that these are the units found.
  const columns = 256 + 96;
  const scales = [63, 1, 7, 40, 63, 13, 22, 50, 63, 5, 31];
  const minima = [63, 0, 20, 63, 1, 33, 62, 8, 63, 0, 50];
  const values = Float32Array.from({ length: 2 * columns }, (_, i) => {
    const group = Math.floor(i % columns / 32);
    return (scales[group]! * (i * 7 % 16) - 4 * minima[group]!) / 64;
  });
  const found = quantized(values, columns);
  values.forEach((value, i) => assert(Math.abs(found[i]! - value) < 2e-3, `${i}: ${found[i]}`));
});

Deno.test("quantizeBlocks() leaves a fifth less squared error than a scale alone, and than Q4_0 a third", () => {
  const columns = 512;
  const values = normal(32 * columns, 3);
  const { codes, scales } = quantize(values, columns, { method: "int4", groupSize: 32 });
  const symmetric = values.map((_, i) => (codes[i]! - 8) * scales[i >> 5]!);
  // Q4_0: the weight of largest magnitude is code 0.
  const plain = values.map((value, i) => {
    const group = values.subarray(i & ~31, (i & ~31) + 32);
    const peak = group.reduce((most, x) => Math.abs(x) > Math.abs(most) ? x : most, 0);
    const scale = Math.f16round(peak / -8);
    return scale * (Math.max(0, Math.min(15, Math.floor(value * -8 / peak + 8.5))) - 8);
  });
  const error = squaredError(values, quantized(values, columns));
  assert(error < 0.8 * squaredError(values, symmetric));
  assert(error < 0.7 * squaredError(values, plain));
});

Deno.test("quantizeBlocks() takes zeros, equal weights, one sign alone and the smallest numbers", () => {
  const columns = 32;
  const of = (value: (i: number) => number) =>
    Float32Array.from({ length: columns }, (_, i) => value(i));
  assertEquals(quantized(of(() => 0), columns), of(() => 0));
  for (const value of [-2, 3, 0.01]) {
    const found = quantized(of(() => value), columns);
    found.forEach((x) => assert(Math.abs(x / value - 1) < 4e-3, `${value} became ${x}`));
  }
  for (const sign of [1, -1]) {
    const values = of((i) => sign * (1 + i / 32));
    const found = quantized(values, columns);
    assert(squaredError(values, found) < 2e-3 * squaredError(values, of(() => 0)), `sign ${sign}`);
  }
  assert(quantized(of((i) => i * 1e-12), columns).every((x) => Math.abs(x) < 1e-9));
});

Deno.test("quantizeBlocks() refuses what f16 has no room for, and no numbers", () => {
  for (const bad of [NaN, Infinity, -70_000]) {
    const values = noise(64, 1);
    values[40] = bad;
    assertThrows(() => quantizeBlocks(values, 64), RangeError, `Cannot quantize ${bad}`);
  }
});
