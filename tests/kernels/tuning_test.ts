import { assert, assertEquals } from "@std/assert";
import { fits, GPU_TUNING, SOFTWARE_TUNING, tuningFor } from "../../kernels/tuning.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";

Deno.test("tuningFor() gives CPU threads shapes of their own", () => {
  const { capabilities } = new ReferenceDevice();
  assertEquals(tuningFor(capabilities), SOFTWARE_TUNING);
  assertEquals(tuningFor({ ...capabilities, tier: "baseline" }), GPU_TUNING);
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

for (const [name, tuning] of Object.entries({ SOFTWARE_TUNING, GPU_TUNING })) {
  Deno.test(`${name} has one tile for any number of rows`, () => {
    for (let rows = 1; rows < 100; rows++) {
      assertEquals(tuning.matmulTiles.filter((tile) => fits(tile, rows)).length, 1);
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
