/**
 * `gemm_subgroup_matrix` through Tint, Dawn's compiler, which alone knows matrix instructions: every type of
 * weights, epilogue, tile and kind of unit.
 *
 * Dawn's null backend grants them without any hardware, compiles and runs nothing. So all these tests need
 * is `npm install --no-save webgpu@0.6.2` in the repository; without it they are skipped and say so. They
 * run in a process of their own, which Dawn keeps from ending.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { matrixChainsCall } from "../../bench/ceiling_matrix.ts";
import { gemmSubgroupMatrixCalls } from "../../kernels/matmul/gemm_subgroup_matrix.ts";
import { MATRIX_SHAPES, type MatrixTile } from "../../kernels/tuning/matrix_tuning.ts";
import { GPU_TUNING } from "../../kernels/tuning/tuning.ts";
import { wgslPreamble } from "../../src/device/capabilities.ts";
import { dawnProvider } from "../../src/device/dawn_provider.ts";
import { requestDevice } from "../../src/device/request_device.ts";
import { expandWgsl } from "../../src/device/wgsl_template.ts";
import { AMD, APPLE, INTEL, NVIDIA, UNEVEN } from "../support/matrix_units.ts";
import { WEIGHT_DTYPES } from "../support/weight_fixture.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
/** Set for the process in which the tests run. */
const CHILD = "QUIRE_TEST_MATRIX_TINT";
const UNITS = [NVIDIA, AMD, INTEL, APPLE, UNEVEN];

const buffer = { label: "any", bytes: 4 };

/** The distinct texts of `gemm_subgroup_matrix` and `cast_rows_f16`. */
function kernelTexts(): Set<string> {
  const buffers = { step: buffer, x: buffer, codes: buffer, scales: buffer, w: buffer, y: buffer };
  const product = { label: "any", rows: "tokens", n: 70, k: 104 } as const;
  const products = [
    ...WEIGHT_DTYPES.map((dtype) => ({ ...product, dtype, epilogue: "silu" as const })),
    // Rows that cannot be loaded by eight inputs at a time.
    { ...product, k: 100, dtype: "f16", epilogue: "store" } as const,
    { ...product, k: 100, dtype: "f32", epilogue: "add" } as const,
  ];
  const matrixTiles: MatrixTile[] = UNITS.flatMap((unit) =>
    [...MATRIX_SHAPES.few, ...MATRIX_SHAPES.many]
      .map((shape) => ({ ...shape, unit, minRows: 17, maxRows: Infinity }))
  );
  return new Set(
    products.flatMap((product) =>
      gemmSubgroupMatrixCalls(product, buffers, { ...GPU_TUNING, matrixTiles })
    )
      .map(({ source, constants }) => expandWgsl(source, constants)),
  );
}

if (Deno.env.has(CHILD)) {
  const provider = await dawnProvider(ROOT, ["backend=null"]);
  const adapter = await provider.gpu.requestAdapter();
  assert(adapter, "Dawn has no null backend");
  // Dawn's devices are collected with their provider.
  const tint = { ...await requestDevice(adapter, provider), provider };
  // A null device can be asked for matrices, but lists none.
  const matrixConfigs = [{ componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 }];
  const preamble = wgslPreamble({ ...tint.capabilities, matrixConfigs });

  /** What Tint has against `code`, if anything. */
  const complaint = async (code: string) => {
    tint.device.pushErrorScope("validation");
    tint.device.createShaderModule({ code: preamble + code });
    return (await tint.device.popErrorScope())?.message;
  };

  Deno.test("Tint accepts gemm_subgroup_matrix for all weights, epilogues, tiles and units", async () => {
    const texts = kernelTexts();
    // Units and shapes make at least 25 distinct texts of each product; types that differ in the
    // size of groups alone share theirs.
    const types = new Set(WEIGHT_DTYPES.map((dtype) => dtype.replace(/g\d+$/, "")));
    assert(texts.size >= 25 * (types.size + 2), `${texts.size} texts`);
    const complaints = new Set<string>();
    for (const text of texts) {
      const message = await complaint(text);
      if (message !== undefined) complaints.add(message);
    }
    assertEquals([...complaints], []);
  });

  Deno.test("Tint accepts the ceiling of matrix units", async () => {
    for (const unit of UNITS) {
      const { source, constants } = matrixChainsCall(unit, 1, buffer);
      assertEquals(await complaint(expandWgsl(source, constants)), undefined);
    }
  });

  Deno.test("Tint refuses a matrix instruction that not all lanes of a subgroup reach", async () => {
    const text = [...kernelTexts()].find((text) => text.includes("subgroup < SUBGROUPS"))!;
    const divergent = text.replaceAll("subgroup < SUBGROUPS", "index < 16u");
    assertStringIncludes(await complaint(divergent) ?? "", "uniform control flow");
  });
} else {
  const missing = await dawnProvider(ROOT).then(() => undefined, (error: Error) => error.message);
  // deno-lint-ignore no-console -- a skip must say why
  if (missing !== undefined) console.warn(`skipped: gemm_subgroup_matrix through Tint: ${missing}`);
  Deno.test({
    name: "Tint accepts gemm_subgroup_matrix, and refuses it in divergent control flow",
    ignore: missing !== undefined,
    fn: async () => {
      const { success, stdout } = await new Deno.Command(Deno.execPath(), {
        args: ["test", "-A", "--no-check", import.meta.url],
        env: { [CHILD]: "1", NO_COLOR: "1" },
      }).output();
      assert(success, new TextDecoder().decode(stdout));
    },
  });
}
