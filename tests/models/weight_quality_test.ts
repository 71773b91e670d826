import { assert } from "@std/assert";
import type { Quantization } from "../../src/core/weight_format.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { DemoEngine } from "../support/demo_engine.ts";
import { Scorer, storyPerplexity } from "../support/perplexity.ts";
import { recallByTask } from "../support/recall.ts";

/** By how much the perplexity of held-out stories may grow, and how many of 20 recalls be right. */
const HELD: Readonly<Record<Quantization["method"], { growth: number; recall: number }>> = {
  int8: { growth: 0.005, recall: 19 },
  int4: { growth: 0.05, recall: 18 },
};

async function perplexityOf(device: Device, quantization?: Quantization): Promise<number> {
  const scorer = await Scorer.create(device, {
    kvCacheDtype: "f32",
    ...(quantization === undefined ? {} : { quantization }),
  });
  return await storyPerplexity(scorer);
}

Deno.test({
  name: "quantized weights keep the bundled model's perplexity and recall, on the device there is",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const device = await WebGpuDevice.open() ?? new ReferenceDevice();
    const plain = await perplexityOf(device);
    for (const method of ["int8", "int4"] as const) {
      const quantization = { method, groupSize: 32 } as const;
      const { growth, recall } = HELD[method];
      const quantized = await perplexityOf(device, quantization);
      assert(quantized !== plain, `${method}: nothing was quantized`);
      assert(
        quantized <= plain * (1 + growth),
        `${method}: perplexity grew from ${plain} to ${quantized}`,
      );
      const engine = await DemoEngine.create(device, { quantization });
      const { table_12: share } = await recallByTask(engine, { only: "table_12", count: 20 });
      assert(share! * 20 >= recall, `${method}: recall is ${share}`);
    }
    device.destroy();
  },
});
