import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { compareStep } from "../../bench/deterministic.ts";
import { type OpenShape, openShape } from "../../bench/open_shape.ts";
import type { KernelCall } from "../../src/device/kernel.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { actingAs, withProperties } from "../support/acting_device.ts";

Deno.test("compareStep() runs the kernels of both, and divides the medians", async () => {
  const device = new ReferenceDevice();
  const shape = await openShape(device, "tiny") as OpenShape;
  const compiled: Set<string>[] = [];
  const asGpu = withProperties(actingAs(device, { tier: "baseline" }), {
    compile: <Dims>(calls: readonly KernelCall<Dims>[]) => {
      compiled.push(new Set(calls.map(({ kernelName }) => kernelName)));
      return device.compile(calls);
    },
  });
  const step = { batch: 1, count: 12, context: 40 };
  const result = await compareStep(asGpu, shape, step, { rounds: 2, runMs: 0 });
  const runs = compiled.filter((names) => names.has("sample_tokens"));
  const kernel = "paged_attention_prefill_splits_workgroup";
  assertEquals(runs.map((names) => names.has(kernel)), [false, true]);
  assert(result.plainMs > 0);
  assertAlmostEquals(result.ratio, result.deterministicMs / result.plainMs, 1e-12);
});
