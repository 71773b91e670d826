import { assertEquals, assertRejects } from "@std/assert";
import { requestDevice } from "../../src/device/request_device.ts";
import { gpuTest } from "../support/agreement.ts";

const MATRIX_UNITS = "chromium-experimental-subgroup-matrix";
const MATRICES = {
  ...{ componentType: "f16", resultComponentType: "f32", M: 16, N: 8, K: 16 },
};

/**
 * An adapter that grants `grants` and refuses any request with more; what it was asked for. As Deno's
 * adapters do it lists nothing, unless it `lists` some of it.
 */
function fakeAdapter(
  grants: readonly string[],
  { isFallbackAdapter = false, lists = [] }: { isFallbackAdapter?: boolean; lists?: string[] } = {},
) {
  const asked: string[][] = [];
  const adapter = {
    features: new Set(lists),
    limits: {
      maxComputeWorkgroupStorageSize: 32768,
      maxComputeInvocationsPerWorkgroup: 1024,
      maxTextureDimension2D: 16384,
    },
    info: {
      isFallbackAdapter,
      subgroupMinSize: 16,
      subgroupMaxSize: 32,
      subgroupMatrixConfigs: new Set([Object.create(MATRICES)]),
    },
    requestDevice({ requiredFeatures, requiredLimits }: Required<GPUDeviceDescriptor>) {
      asked.push([...requiredFeatures]);
      if (requiredFeatures.some((feature) => !grants.includes(feature))) {
        return Promise.reject(new TypeError("no subset"));
      }
      return Promise.resolve({ features: new Set(requiredFeatures), limits: requiredLimits });
    },
  };
  return { adapter: adapter as unknown as GPUAdapter, asked };
}

const GPU_WITH_DP4A = {
  wgslLanguageFeatures: new Set([
    "packed_4x8_integer_dot_product",
    "readonly_and_readwrite_storage_textures",
  ]),
} as unknown as GPU;
const NAGA = { gpu: GPU_WITH_DP4A, dialect: "naga" } as const;

Deno.test("requestDevice() keeps every feature that is granted and drops each that is not", async () => {
  const subsets = [["subgroups", "shader-f16"], ["shader-f16"], ["timestamp-query"], []];
  for (const grants of subsets) {
    const { capabilities: c } = await requestDevice(fakeAdapter(grants).adapter, NAGA);
    const granted = [
      ...c.hasSubgroups ? ["subgroups"] : [],
      ...c.hasF16 ? ["shader-f16"] : [],
      ...c.hasTimestamps ? ["timestamp-query"] : [],
    ];
    assertEquals(granted, grants);
  }
});

Deno.test("requestDevice() asks once where everything is granted", async () => {
  const { adapter, asked } = fakeAdapter(["subgroups", "shader-f16", "timestamp-query"]);
  await requestDevice(adapter, NAGA);
  assertEquals(asked.length, 1);
});

Deno.test("requestDevice() asks for matrix units where they are listed, and tells what they do", async () => {
  const all = ["subgroups", "shader-f16", "timestamp-query", MATRIX_UNITS];
  const hidden = fakeAdapter(all);
  assertEquals((await requestDevice(hidden.adapter, NAGA)).capabilities.matrixConfigs, []);
  assertEquals(hidden.asked, [all.slice(0, 3)]);
  const { adapter, asked } = fakeAdapter(all, { lists: [MATRIX_UNITS] });
  assertEquals((await requestDevice(adapter, NAGA)).capabilities.matrixConfigs, [MATRICES]);
  assertEquals(asked, [all]);
  const refused = fakeAdapter(all.slice(0, 3), { lists: [MATRIX_UNITS] });
  const { capabilities } = await requestDevice(refused.adapter, NAGA);
  assertEquals([capabilities.matrixConfigs, capabilities.hasSubgroups], [[], true]);
});

Deno.test("requestDevice() tells tier, subgroup sizes, dot products and limits", async () => {
  const full = await requestDevice(fakeAdapter(["subgroups"]).adapter, NAGA);
  assertEquals(full.capabilities, {
    tier: "subgroups",
    dialect: "naga",
    hasSubgroups: true,
    subgroupMinSize: 16,
    subgroupMaxSize: 32,
    hasF16: false,
    hasPackedDot: true,
    matrixConfigs: [],
    hasTimestamps: false,
    maxWorkgroupBytes: 32768,
    maxWorkgroupLanes: 1024,
    maxTextureSide: 16384,
  });
  const bare = await requestDevice(fakeAdapter([]).adapter, { ...NAGA, gpu: {} as GPU });
  assertEquals(bare.capabilities.tier, "baseline");
  assertEquals(bare.capabilities.subgroupMaxSize, 0);
  assertEquals(bare.capabilities.hasPackedDot, false);
  assertEquals(bare.capabilities.maxTextureSide, 0);
  const software = await requestDevice(
    fakeAdapter(["subgroups"], { isFallbackAdapter: true }).adapter,
    NAGA,
  );
  assertEquals(software.capabilities.tier, "software");
});

Deno.test("requestDevice() passes on a refusal of the barest request", async () => {
  const { adapter, asked } = fakeAdapter([]);
  adapter.requestDevice = () => Promise.reject(new RangeError("too many devices"));
  await assertRejects(() => requestDevice(adapter, NAGA), RangeError, "too many devices");
  assertEquals(asked, []);
});

gpuTest("WebGpuDevice tells what its adapter granted", (gpu) => {
  const { hasSubgroups, subgroupMinSize, subgroupMaxSize, maxWorkgroupLanes } = gpu.capabilities;
  assertEquals(subgroupMinSize > 0, hasSubgroups);
  assertEquals(subgroupMaxSize >= subgroupMinSize, true);
  assertEquals(maxWorkgroupLanes >= 256, true);
  assertEquals(gpu.isSoftware, gpu.capabilities.tier === "software");
  return Promise.resolve();
});
