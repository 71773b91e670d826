import { assert, assertEquals } from "@std/assert";
import { serves } from "../../kernels/tuning/tiles.ts";
import { GPU_TUNING, SOFTWARE_TUNING, tuningFor } from "../../kernels/tuning/tuning.ts";
import type { Capabilities } from "../../src/device/capabilities.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";

Deno.test("tuningFor() gives CPU threads shapes of their own", () => {
  const { capabilities } = new ReferenceDevice();
  assertEquals(tuningFor(capabilities), SOFTWARE_TUNING);
  assertEquals(tuningFor({ ...capabilities, tier: "baseline" }), GPU_TUNING);
});

Deno.test("tuningFor() multiplies int8 activations where that is asked for, or a GPU can and may", () => {
  const { capabilities } = new ReferenceDevice();
  const gpu = { ...capabilities, tier: "baseline" as const };
  const packs = (of: Partial<Capabilities>, int8Activations?: "auto" | "on" | "off") =>
    tuningFor({ ...gpu, ...of }, int8Activations && { int8Activations }).usesW8a8;
  const can = { hasPackedDot: true };
  assertEquals([packs(can), packs(can, "off"), packs(can, "auto")], [false, false, true]);
  assertEquals([packs({}, "auto"), packs({}, "on")], [false, true]);
  assertEquals(packs({ ...can, tier: "software" }, "auto"), false);
  assertEquals(packs({ ...can, tier: "software" }, "on"), true);
});

Deno.test("tuningFor() has matmul use subgroups where they are granted", () => {
  const { capabilities } = new ReferenceDevice();
  const software = { ...capabilities, hasSubgroups: true, subgroupMinSize: 8 };
  assert(tuningFor(software).matmulSubgroups);
  assert(tuningFor({ ...software, tier: "subgroups", subgroupMinSize: 4 }).matmulSubgroups);
  assert(!tuningFor({ ...software, subgroupMinSize: 4 }).matmulSubgroups, "lanes of 2 subgroups");
  assert(tuningFor(software).attentionSubgroups);
  assert(!tuningFor({ ...software, subgroupMinSize: 4 }).attentionSubgroups);
});

Deno.test("tuningFor() has GPUs shuffle among lanes that any subgroup holds", () => {
  const { capabilities } = new ReferenceDevice();
  const lanes = (tier: Capabilities["tier"], subgroupMinSize: number) => {
    const granted = { hasSubgroups: subgroupMinSize > 0, subgroupMinSize, subgroupMaxSize: 128 };
    const device = { ...capabilities, tier, ...granted };
    const { shuffleLanes } = tuningFor(device);
    // Nobody's order of additions depends on the size that the driver chooses.
    assertEquals(tuningFor(device, { isDeterministic: true }).shuffleLanes, shuffleLanes);
    return shuffleLanes;
  };
  assertEquals([0, 4, 8, 32, 64].map((size) => lanes("subgroups", size)), [1, 4, 8, 32, 32]);
  assertEquals(lanes("software", 8), 1);
});

Deno.test("tuningFor() has nothing deterministic add up over subgroups whose size may vary", () => {
  const { capabilities } = new ReferenceDevice();
  const subgroups = (tier: Capabilities["tier"], subgroupMinSize: number) =>
    tuningFor(
      { ...capabilities, tier, hasSubgroups: true, subgroupMinSize, subgroupMaxSize: 32 },
      { isDeterministic: true },
    ).matmulSubgroups;
  assertEquals(subgroups("subgroups", 32), true);
  assertEquals(subgroups("subgroups", 16), false);
  // There, subgroups only pass inputs on.
  assertEquals(subgroups("software", 8), true);
});

for (const [name, tuning] of Object.entries({ SOFTWARE_TUNING, GPU_TUNING })) {
  Deno.test(`${name} has one tile for any number of rows`, () => {
    for (let rows = 1; rows < 100; rows++) {
      assertEquals(tuning.matmulTiles.filter((tile) => serves(tile, rows)).length, 1);
    }
  });

  Deno.test(`${name} fuses norms only where rms_norm has as many lanes, and a slice each`, () => {
    for (const { fusesNorm, lanes, slices } of tuning.matmulTiles) {
      if (fusesNorm) assertEquals([lanes * slices, slices > 1], [tuning.normLanes, true]);
    }
  });

  Deno.test(`${name} has as many slices in every tile, so that sums do not depend on rows`, () => {
    assertEquals(new Set(tuning.matmulTiles.map(({ slices }) => slices)).size, 1);
  });
}
