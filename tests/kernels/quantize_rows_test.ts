import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { normQuantizeCall } from "../../kernels/matmul/norm_quantize.ts";
import {
  quantizeRowsCall,
  quantizeSpans,
  SPAN_INPUTS,
} from "../../kernels/matmul/quantize_rows.ts";
import { numRows } from "../../kernels/rows.ts";
import type { StepDims } from "../../kernels/step.ts";
import type { KernelCall } from "../../src/device/kernel.ts";
import type { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { type Contents, gpuTest, noise, runBoth } from "../support/agreement.ts";
import { packStep } from "../support/step_fixture.ts";

const CHUNKS = [{ start: 40, count: 1 }, { start: 0, count: 11 }, { start: 7, count: 1 }];
const POOL = { blockSize: 8, numBlocks: 31, queryTile: 8 };
/** More spans than lanes of a workgroup, and fewer. */
const WIDTHS = [96, 544];

/** Rows whose spans are of every size, one of them all zeros and one almost. */
function rowsOfSpans(numRows: number, k: number, poisonedRows: number): Float32Array {
  const values = new Float32Array((numRows + poisonedRows) * k).fill(NaN);
  values.set(noise(numRows * k, 4));
  for (let i = 0; i < numRows * k; i++) {
    values[i]! *= [1, 1e-3, 0, 3e4, 1e-35][Math.floor(i / SPAN_INPUTS) % 5]!;
  }
  return values;
}

/** Codes and scales as both devices leave them. */
async function both(
  gpu: WebGpuDevice,
  contents: Contents,
  call: (buffers: never) => KernelCall<StepDims>,
  dims: StepDims,
) {
  const calls = (buffers: object) => [call(buffers as never)];
  const codes = await runBoth(gpu, contents, calls, dims, "codes");
  const scales = await runBoth(gpu, contents, calls, dims, "scales");
  return { codes, scales };
}

/** Buffers for so many rows and one more, whose bytes are all 7. */
function room(rows: number, k: number) {
  const bytes = (count: number) => new Uint32Array(count / 4).fill(0x07070707);
  return { codes: bytes((rows + 1) * k), scales: bytes(4 * (rows + 1) * k / SPAN_INPUTS) };
}

/**
 * Codes may differ by one where the value lies near the middle between two: by `slack` of a code at most.
 * The definition tells how near, through the values themselves.
 */
function checkCodes(
  actual: Int8Array,
  expected: Int8Array,
  { values, scales, slack }: { values: Float32Array; scales: Float32Array; slack: number },
): void {
  values.forEach((value, i) => {
    const code = actual[i]!;
    const multiple = value / (scales[Math.floor(i / SPAN_INPUTS)]! || Infinity);
    assert(Math.abs(code - multiple) <= 0.5 + slack, `code ${i} is ${code} of ${multiple}`);
    assert(Math.abs(code - expected[i]!) <= 1, `code ${i} is ${code}, not ${expected[i]}`);
  });
}

for (const k of WIDTHS) {
  gpuTest(`quantize_rows agrees with the definition: ${k} inputs`, async (gpu) => {
    for (const lanes of [8, 64]) {
      const step = packStep(CHUNKS, POOL);
      const rows = step.dims.numTokens;
      const x = rowsOfSpans(rows, k, 2);
      const { codes, scales } = await both(
        gpu,
        { step: step.words, x, ...room(rows, k) },
        (b) => quantizeRowsCall({ label: "test", k, lanes }, b),
        step.dims,
      );
      assertEquals(scales.actual.u32, scales.expected.u32);
      assertEquals(scales.actual.u8.at(-1), 7, "wrote a scale too many");
      const [actual, expected] = [codes.actual, codes.expected].map(({ u8 }) => new Int8Array(u8));
      checkCodes(actual!, expected!, {
        values: x.subarray(0, rows * k),
        scales: scales.expected.f32,
        slack: 1e-4,
      });
      assert(actual!.subarray(rows * k).every((code) => code === 7), "wrote a code too many");
    }
  });
}

for (const rows of ["tokens", "draws"] as const) {
  for (const lanes of [8, 64]) {
    gpuTest(`norm_quantize agrees with the definition: ${rows}, ${lanes} lanes`, async (gpu) => {
      const step = packStep(CHUNKS, { ...POOL, sampled: true });
      const count = numRows(rows, step.dims);
      for (const k of WIDTHS) {
        const x = noise(step.dims.numTokens * k, 4, 30);
        const { codes, scales } = await both(
          gpu,
          { step: step.words, x, norm: noise(k, 5), ...room(count, k) },
          (b) => normQuantizeCall({ label: "test", rows, k, eps: 1e-5, lanes }, b),
          step.dims,
        );
        const numSpans = count * k / SPAN_INPUTS;
        for (let span = 0; span < numSpans; span++) {
          const [a, b] = [scales.actual.f32[span]!, scales.expected.f32[span]!];
          assert(b > 1e-4 && Math.abs(a - b) < 1e-5 * b, `scale ${span} is ${a}, not ${b}`);
        }
        assertEquals(scales.actual.u8.at(-1), 7, "wrote a scale too many");
        const [actual, expected] = [codes.actual, codes.expected]
          .map(({ u8 }) => new Int8Array(u8));
        const differing = expected!.filter((code, i) => code !== actual![i]).length;
        assert(differing <= count * k / 1000, `${differing} codes differ`);
        actual!.forEach((code, i) => assert(Math.abs(code - expected![i]!) <= 1, `code ${i}`));
        assert(actual!.subarray(count * k).every((code) => code === 7), "wrote a code too many");
      }
    });
  }
}

Deno.test("quantizeSpans() keeps each input to half a scale, the largest as 127, and signs apart", () => {
  const values = fc.float32Array({
    ...{ minLength: 64, maxLength: 64, min: -1e6, max: 1e6, noNaN: true },
  });
  fc.assert(
    fc.property(values, (span) => {
      const [codes, scales] = [new Int8Array(64), new Float32Array(2)];
      quantizeSpans(span, codes, scales);
      span.forEach((value, i) => {
        const scale = scales[Math.floor(i / SPAN_INPUTS)]!;
        assert(Math.abs(value - codes[i]! * scale) <= 0.50001 * scale + 1e-30);
        assert(codes[i]! >= -127);
      });
      scales.forEach((scale, i) => {
        const ofSpan = codes.subarray(i * SPAN_INPUTS, (i + 1) * SPAN_INPUTS);
        assertEquals(scale === 0 ? 0 : 127, Math.max(...ofSpan.map(Math.abs)));
      });
    }),
    { seed: 20260804, numRuns: 300 },
  );
});

Deno.test("quantizeSpans() rounds ties to the even code, as WGSL does", () => {
  const span = new Float32Array(SPAN_INPUTS);
  span.set([127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49]);
  const codes = new Int8Array(SPAN_INPUTS);
  quantizeSpans(span, codes, new Float32Array(1));
  assertEquals([...codes.subarray(0, 8)], [127, 0, 2, 2, 0, -2, -2, 0]);
});
