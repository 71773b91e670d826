import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { quantize } from "../../src/weights/quantize.ts";
import { noise } from "../support/agreement.ts";

const GROUP = 32;
const INT8 = { method: "int8", groupSize: GROUP } as const;
const INT4 = { method: "int4", groupSize: GROUP } as const;

/** Weights of magnitudes from below the smallest f16 up to its largest, whole groups and a short one. */
const anyGroup = fc.tuple(
  fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 1, maxLength: GROUP }),
  fc.integer({ min: -30, max: 15 }),
).map(([values, exponent]) => Float32Array.from(values, (value) => value * 2 ** exponent));

/** The weights that codes and scales stand for, all in one group. */
function restored({ codes, scales }: ReturnType<typeof quantize>, method: string): number[] {
  const code = (byte: number) => method === "int8" ? (byte << 24) >> 24 : byte - 8;
  return Array.from(codes, (byte) => scales[0]! * code(byte));
}

function squaredError(values: Float32Array, others: readonly number[]): number {
  return values.reduce((sum, value, i) => sum + (value - others[i]!) ** 2, 0);
}

Deno.test("quantize() to int8 is off by at most half the scale, and uses 127 codes to each side", () => {
  fc.assert(
    fc.property(anyGroup, (values) => {
      const quantized = quantize(values, values.length, INT8);
      const half = quantized.scales[0]! / 2 * (1 + 1e-6);
      restored(quantized, "int8").forEach((value, i) => {
        assert(Math.abs(value - values[i]!) <= half, `${values[i]} became ${value}`);
      });
      assert(quantized.codes.every((code) => code !== 128), "code -128");
    }),
    { seed: 1, numRuns: 500 },
  );
});

Deno.test("quantize() to int4 gives each weight the code nearest to it", () => {
  fc.assert(
    fc.property(anyGroup, (values) => {
      const quantized = quantize(values, values.length, INT4);
      const scale = quantized.scales[0]!;
      restored(quantized, "int4").forEach((value, i) => {
        const errors = Array.from({ length: 16 }, (_, c) => Math.abs(scale * (c - 8) - values[i]!));
        const least = Math.min(...errors);
        assert(Math.abs(value - values[i]!) <= least + 1e-6 * Math.abs(values[i]!));
      });
    }),
    { seed: 2, numRuns: 500 },
  );
});

/** Least squared error over 4,000 scales of either sign, each weight at its nearest code. */
function leastError(values: Float32Array): number {
  const peak = Math.max(...values.map(Math.abs));
  let least = Infinity;
  for (let i = 1; i <= 2000; i++) {
    for (const scale of [peak * i / 8000, -peak * i / 8000]) {
      const nearest = Array.from(
        values,
        (value) => scale * Math.min(7, Math.max(-8, Math.round(value / scale))),
      );
      least = Math.min(least, squaredError(values, nearest));
    }
  }
  return least;
}

Deno.test("quantize() to int4 comes within 4 % of the least squared error of any scale", () => {
  let [error, least, plain] = [0, 0, 0];
  for (let seed = 1; seed <= 60; seed++) {
    // Sums of three are nearer to what weights look like than one uniform number.
    const [a, b, c] = [noise(GROUP, seed), noise(GROUP, seed + 99), noise(GROUP, seed + 999)];
    const values = a.map((value, i) => value + b[i]! + c[i]!);
    error += squaredError(values, restored(quantize(values, GROUP, INT4), "int4"));
    least += leastError(values);
    const scale = values.reduce((top, v) => Math.abs(v) > Math.abs(top) ? v : top, 0) / -8;
    plain += squaredError(
      values,
      Array.from(values, (v) => scale * Math.min(7, Math.max(-8, Math.round(v / scale)))),
    );
  }
  assert(error <= 1.04 * least, `${error / least} of the least error`);
  assert(error < 0.95 * plain, `${error / plain} of the error without a search`);
});

Deno.test("quantize() gives weights that lie on a grid back exactly, in every group", () => {
  const scales = [0.25, -0.5, 2 ** -20];
  const columns = 2 * GROUP + 4;
  const place = (i: number) => ({ group: Math.floor(i / GROUP), at: i % GROUP });
  const grid = (codes: (at: number) => number) =>
    Float32Array.from({ length: columns }, (_, i) => scales[place(i).group]! * codes(place(i).at));
  const int4 = quantize(grid((at) => at % 16 - 8), columns, INT4);
  assertEquals([...int4.scales], scales);
  assertEquals([...int4.codes], Array.from({ length: columns }, (_, i) => place(i).at % 16));
  const int8 = quantize(grid((at) => 127 - 8 * at), columns, INT8);
  assertEquals([...int8.scales], scales.map(Math.abs));
});

Deno.test("quantize() takes zeros, and weights below the smallest f16", () => {
  for (const quantization of [INT8, INT4]) {
    for (const value of [0, 1e-30]) {
      const quantized = quantize(new Float32Array(GROUP).fill(value), GROUP, quantization);
      const most = Math.max(...restored(quantized, quantization.method).map(Math.abs));
      assert(most <= 2 ** -24 / 2, `${value} became ${most}`);
    }
  }
});

Deno.test("quantize() refuses what f16 scales cannot reach, by its value", () => {
  for (const value of [NaN, Infinity, -1e6]) {
    for (const quantization of [INT8, INT4]) {
      const values = new Float32Array(2 * GROUP).fill(1);
      values[40] = value;
      const error = assertThrows(() => quantize(values, 2 * GROUP, quantization), RangeError);
      assertEquals(error.message, `Cannot quantize ${value}: the limit is 65504 in magnitude`);
    }
  }
});
