import { assertEquals } from "@std/assert";
import { tuningFor } from "../../kernels/tuning/tuning.ts";
import { forwardGraph } from "../../src/runner/build_runner.ts";
import { layerKvs } from "../../src/runner/kv_memory.ts";
import { allocateMemory } from "../../src/runner/runner_memory.ts";
import { TimedDevice, timedInputs } from "../support/timed_device.ts";

Deno.test("forwardGraph() of a model's first layers has them as they are in the whole", async () => {
  const device = new TimedDevice();
  const inputs = timedInputs(device, { kvCacheDtype: "int4" });
  const { activations, storage } = await allocateMemory(inputs);
  const kv = layerKvs(inputs.model, inputs.config, storage.buffers);
  const dtypes = (numLayers: number) =>
    forwardGraph(
      inputs,
      { activations, kv: kv.slice(0, numLayers) },
      tuningFor(device.capabilities),
    ).filter(({ kernelName }) => kernelName.startsWith("paged_attention_decode"))
      .map(({ constants }) => constants.KV_DTYPE);
  assertEquals(dtypes(6), ["f16", "int4", "int4", "int4", "int4", "f16"]);
  assertEquals(dtypes(2), ["f16", "int4"]);
});
