import { assertEquals } from "@std/assert";
import { GPU_TUNING, SOFTWARE_TUNING, tuningFor } from "../../kernels/tuning.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";

Deno.test("tuningFor() gives CPU threads shapes of their own", () => {
  const { capabilities } = new ReferenceDevice();
  assertEquals(tuningFor(capabilities), SOFTWARE_TUNING);
  assertEquals(tuningFor({ ...capabilities, tier: "baseline" }), GPU_TUNING);
});
