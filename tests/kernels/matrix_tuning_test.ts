import { assertEquals } from "@std/assert";
import { matrixTilesOf, matrixUnitOf } from "../../kernels/tuning/matrix_tuning.ts";
import { tilesOf } from "../../kernels/tuning/product_tiles.ts";
import { tuningFor, type TuningOptions } from "../../kernels/tuning/tuning.ts";
import type { Capabilities, MatrixConfig } from "../../src/device/capabilities.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";

const config = (types: string, M: number, N: number, K: number): MatrixConfig => {
  const [componentType, resultComponentType] = types.split(" to ") as [string, string];
  return { componentType, resultComponentType, M, N, K };
};

/** As devices list them; the ones of 8 bits have no use here. */
const NVIDIA = [
  config("f16 to f16", 16, 16, 16),
  config("f16 to f32", 16, 8, 8),
  config("f16 to f32", 16, 16, 16),
  config("f16 to f32", 16, 8, 16),
  config("i8 to i32", 16, 16, 32),
];
const INTEL = [config("f16 to f32", 8, 16, 16), config("i8 to i32", 8, 16, 32)];
const APPLE = [config("f32 to f32", 8, 8, 8), config("f16 to f16", 8, 8, 8)];

const GPU: Capabilities = {
  ...new ReferenceDevice().capabilities,
  tier: "subgroups",
  dialect: "tint",
  hasSubgroups: true,
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
  hasF16: true,
  hasPackedDot: true,
  maxWorkgroupBytes: 32_768,
  maxWorkgroupLanes: 1024,
};

Deno.test("matrixUnitOf() takes f16 with sums in f32, the largest, else f32", () => {
  const unitOf = (matrixConfigs: readonly MatrixConfig[]) =>
    matrixUnitOf({ ...GPU, matrixConfigs });
  assertEquals(unitOf(NVIDIA), { type: "f16", m: 16, n: 16, k: 16, lanes: 32 });
  assertEquals(unitOf(INTEL), { type: "f16", m: 8, n: 16, k: 16, lanes: 32 });
  assertEquals(unitOf(APPLE), { type: "f32", m: 8, n: 8, k: 8, lanes: 32 });
  assertEquals(unitOf([...APPLE, config("f16 to f32", 8, 8, 8)])?.type, "f16");
});

Deno.test("matrixUnitOf() takes nothing that its shapes are not made of, or sums in f16", () => {
  const unfit = [
    config("f16 to f32", 32, 16, 16),
    config("f16 to f32", 16, 16, 64),
    config("f32 to f32", 16, 16, 32),
    config("f16 to f16", 16, 16, 16),
    config("i8 to i32", 16, 16, 16),
  ];
  for (const matrixConfigs of [[], unfit]) {
    assertEquals(matrixUnitOf({ ...GPU, matrixConfigs }), undefined);
  }
});

Deno.test("matrixUnitOf() wants subgroups, f16, shared memory and lanes enough", () => {
  const less: readonly Partial<Capabilities>[] = [
    { tier: "software" },
    { hasSubgroups: false },
    { hasF16: false },
    { maxWorkgroupBytes: 16_384 },
    { maxWorkgroupLanes: 255 },
    { subgroupMaxSize: 256 },
  ];
  for (const change of less) {
    assertEquals(matrixUnitOf({ ...GPU, matrixConfigs: NVIDIA, ...change }), undefined);
  }
  const unit = matrixUnitOf({
    ...GPU,
    matrixConfigs: APPLE,
    hasF16: false,
    maxWorkgroupLanes: 256,
  });
  assertEquals(unit?.type, "f32");
});

Deno.test("matrixTilesOf() serve every number of rows from 17 on once", () => {
  assertEquals(matrixTilesOf(undefined), []);
  const bounds = matrixTilesOf(matrixUnitOf({ ...GPU, matrixConfigs: NVIDIA }))
    .flatMap(({ minRows, maxRows }) => [minRows - 1, maxRows]);
  assertEquals(bounds, [16, 64, 64, Infinity]);
});

Deno.test("tuningFor() has gemm_subgroup_matrix take over where the device has units, but not deterministically", () => {
  const capabilities = { ...GPU, matrixConfigs: NVIDIA };
  const { matmulTiles, gemmTiles, matrixTiles } = tilesOf(tuningFor(capabilities), "any");
  assertEquals(matmulTiles.at(-1)!.maxRows, 8);
  assertEquals(gemmTiles.map(({ minRows, maxRows }) => [minRows, maxRows]), [[9, 16]]);
  assertEquals(matrixTiles.map(({ minRows }) => minRows), [17, 65]);
  assertEquals(tuningFor(GPU).matrixTiles, []);
  assertEquals(tuningFor(capabilities, { isDeterministic: true }).matrixTiles, []);
});

Deno.test("tuningFor() leaves activations as they are where matrix units multiply them", () => {
  const isW8a8 = (
    matrixConfigs: readonly MatrixConfig[],
    options: Pick<TuningOptions, "isDeterministic" | "int8Activations">,
  ) => tuningFor({ ...GPU, matrixConfigs }, options).usesW8a8;
  assertEquals(isW8a8([], { int8Activations: "auto" }), true);
  assertEquals(isW8a8(NVIDIA, { int8Activations: "auto" }), false);
  assertEquals(isW8a8(NVIDIA, { int8Activations: "on" }), true);
  assertEquals(isW8a8(NVIDIA, { int8Activations: "auto", isDeterministic: true }), true);
});
