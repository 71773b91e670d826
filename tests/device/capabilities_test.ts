import { assertEquals } from "@std/assert";
import {
  type Capabilities,
  describeFeatures,
  wgslPreamble,
} from "../../src/device/capabilities.ts";

const NONE: Capabilities = {
  tier: "baseline",
  dialect: "naga",
  hasSubgroups: false,
  subgroupMinSize: 0,
  subgroupMaxSize: 0,
  hasF16: false,
  hasPackedDot: false,
  matrixConfigs: [],
  hasTimestamps: false,
  maxWorkgroupBytes: 16384,
  maxWorkgroupLanes: 256,
  maxTextureSide: 0,
};
const SUBGROUPS: Capabilities = {
  ...NONE,
  tier: "subgroups",
  hasSubgroups: true,
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
};
const MATRICES = {
  ...{ componentType: "f16", resultComponentType: "f32", M: 16, N: 8, K: 16 },
};

Deno.test("describeFeatures() names what was granted, and one size of subgroups or two", () => {
  assertEquals(describeFeatures(NONE), "no optional features");
  assertEquals(describeFeatures(SUBGROUPS), "subgroups of 32");
  const all = { ...SUBGROUPS, subgroupMinSize: 8, hasF16: true, hasPackedDot: true };
  assertEquals(describeFeatures(all), "subgroups of 8 to 32, f16, packed dot products");
  const matrixConfigs = [MATRICES, { ...MATRICES, componentType: "i8" }, MATRICES];
  assertEquals(
    describeFeatures({ ...SUBGROUPS, matrixConfigs }),
    "subgroups of 32, matrix units (f16 to f32, i8 to f32)",
  );
});

Deno.test("wgslPreamble() switches on what each compiler wants switched on", () => {
  const all = { ...SUBGROUPS, hasF16: true };
  assertEquals(wgslPreamble(NONE), "");
  assertEquals(wgslPreamble(SUBGROUPS), "");
  assertEquals(wgslPreamble(all), "enable f16;\n");
  assertEquals(wgslPreamble({ ...all, dialect: "tint" }), "enable f16;\nenable subgroups;\n");
  assertEquals(wgslPreamble({ ...NONE, dialect: "tint" }), "");
  assertEquals(
    wgslPreamble({ ...SUBGROUPS, dialect: "tint", matrixConfigs: [MATRICES] }),
    "enable subgroups;\nenable chromium_experimental_subgroup_matrix;\n",
  );
});
