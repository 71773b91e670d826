import { assert, assertEquals } from "@std/assert";
import { gateUpSiluCalls } from "../../kernels/gate_up_silu.ts";
import { matmulCalls } from "../../kernels/matmul.ts";
import { HEADER_WORDS, STEP, type StepDims } from "../../kernels/step.ts";
import { GPU_TUNING, SOFTWARE_TUNING } from "../../kernels/tuning.ts";
import type { WeightDtype } from "../../kernels/weight_dtype.ts";
import { gpuTest, noise, runBoth, worstError } from "../support/agreement.ts";
import { NO_WORK } from "../support/step_fixture.ts";

/** Rows at every tile's edges; outputs that do not fill a tile; few and many inputs. */
const ROWS = [1, 2, 4, 5, 8, 9, 33];
const SHAPES = [{ n: 4, k: 4 }, { n: 70, k: 36 }, { n: 128, k: 256 }];

function header(numTokens: number): Uint32Array {
  const words = new Uint32Array(HEADER_WORDS);
  words[STEP.numTokens] = numTokens;
  return words;
}

function dimsOf(numTokens: number): StepDims {
  return { ...NO_WORK, numTokens };
}

function weights(length: number, dtype: WeightDtype): Float32Array | Uint16Array {
  const values = noise(length, 2);
  if (dtype === "f32") return values;
  if (dtype === "f16") return new Uint16Array(new Float16Array(values).buffer);
  return Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16);
}

for (const [name, tuning] of Object.entries({ SOFTWARE_TUNING, GPU_TUNING })) {
  for (const dtype of ["f32", "f16", "bf16"] as const) {
    gpuTest(`matmul and gate_up_silu agree with the definition: ${name}, ${dtype}`, async (gpu) => {
      for (const { n, k } of SHAPES) {
        for (const rows of ROWS) {
          for (const add of [false, true]) await checkMatmul({ n, k, rows, add });
          await checkGateUp({ n, k, rows });
        }
      }

      async function checkMatmul(
        { n, k, rows, add }: Record<"n" | "k" | "rows", number> & { add: boolean },
      ) {
        const x = new Float32Array((rows + 3) * k).fill(NaN);
        x.set(noise(rows * k, 1));
        const y = new Float32Array((rows + 3) * n).fill(7);
        const { actual, expected } = await runBoth(
          gpu,
          { step: header(rows), x, w: weights(n * k, dtype), y },
          (b) =>
            matmulCalls({ label: "test", rows: "tokens", n, k, dtype, add }, b as never, tuning),
          dimsOf(rows),
          "y",
        );
        const error = worstError(actual.f32, expected.f32);
        assert(error < 2e-6 * k, `n ${n} k ${k} rows ${rows} add ${add}: error ${error}`);
        assert(actual.f32[rows * n] === 7, "wrote past the last row");
      }

      async function checkGateUp({ n, k, rows }: Record<"n" | "k" | "rows", number>) {
        const { actual, expected } = await runBoth(
          gpu,
          {
            step: header(rows),
            x: noise(rows * k, 1),
            gate: weights(n * k, dtype),
            up: weights(n * k + 2, dtype).subarray(2),
            h: new Float32Array((rows + 1) * n).fill(7),
          },
          (b) => gateUpSiluCalls({ n, k, dtype }, b as never, tuning),
          dimsOf(rows),
          "h",
        );
        const error = worstError(actual.f32, expected.f32);
        assert(error < 2e-6 * k, `n ${n} k ${k} rows ${rows}: error ${error}`);
      }
    });
  }
}

for (const [name, tuning] of Object.entries({ SOFTWARE_TUNING, GPU_TUNING })) {
  gpuTest(`a row's sums have the same bits in any batch: ${name}`, async (gpu) => {
    const [n, k] = [70, 256];
    const batch = noise(33 * k, 1, 3);
    const run = async (rows: number) => {
      const contents = {
        step: header(rows),
        x: batch.subarray(0, rows * k),
        w: weights(n * k, "f16"),
        gate: weights(n * k, "f16"),
        up: weights(n * k + 2, "f16").subarray(2),
        y: new Float32Array(rows * n),
        h: new Float32Array(rows * n),
      };
      const calls = (b: object) => [
        ...matmulCalls({ label: "test", rows: "tokens", n, k, dtype: "f16" }, b as never, tuning),
        ...gateUpSiluCalls({ n, k, dtype: "f16" }, b as never, tuning),
      ];
      const y = await runBoth(gpu, contents, calls, dimsOf(rows), "y");
      const h = await runBoth(gpu, contents, calls, dimsOf(rows), "h");
      return [...y.actual.u32.subarray(0, n), ...h.actual.u32.subarray(0, n)];
    };
    const alone = await run(1);
    for (const rows of [2, 4, 5, 33]) assertEquals(await run(rows), alone);
  });
}
