import { assert } from "@std/assert";
import { parseConfig, toEngineConfig } from "../../src/core/config.ts";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { DEMO_DIR, DemoEngine } from "../support/demo_engine.ts";
import { goldenAgreement, Scorer, storyPerplexity } from "../support/perplexity.ts";
import { recallByTask } from "../support/recall.ts";

/** How a model's matrices are multiplied, as a command line has it. */
interface Format {
  readonly flags: readonly string[];
  /** By how much the perplexity of held-out stories may grow, as a share. */
  readonly growth: number;
  /** Least share of the golden ids that stay the likeliest. */
  readonly golden: number;
  /** Least number of 20 recalls that are right. */
  readonly recall: number;
}

const FORMATS: readonly Format[] = [
  { flags: ["--quantization", "int8"], growth: 0.005, golden: 0.99, recall: 19 },
  {
    flags: ["--quantization", "int8", "--int8-activations", "on"],
    ...{ growth: 0.005, golden: 0.985, recall: 18 },
  },
  { flags: ["--quantization", "int4"], growth: 0.05, golden: 0.92, recall: 18 },
  {
    flags: ["--quantization", "int4", "--int8-activations", "on"],
    ...{ growth: 0.05, golden: 0.92, recall: 18 },
  },
];

type Choice = Pick<EngineConfig, "quantization" | "int8Activations">;

function choiceOf(flags: readonly string[]): Choice {
  const { quantization, int8Activations } = toEngineConfig(parseConfig(flags, {}), DEMO_DIR);
  return {
    ...quantization === undefined ? {} : { quantization },
    ...int8Activations === undefined ? {} : { int8Activations },
  };
}

/** Half of the texts there are; `bench/weight_quality.ts` takes all. */
const [NUM_STORIES, NUM_PROMPTS] = [4, 10];

function scorerOf(device: Device, flags: readonly string[]): Promise<Scorer> {
  return Scorer.create(device, choiceOf(flags));
}

Deno.test({
  name:
    "quantized weights and activations keep the bundled model's quality, on the device there is",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const device = await WebGpuDevice.open() ?? new ReferenceDevice();
    const plain = await storyPerplexity(await scorerOf(device, []), NUM_STORIES);
    const seen = new Set([plain]);
    for (const { flags, ...held } of FORMATS) {
      const words = flags.join(" ");
      const scorer = await scorerOf(device, flags);
      const perplexity = await storyPerplexity(scorer, NUM_STORIES);
      assert(!seen.has(perplexity), `${words}: nothing else was quantized`);
      seen.add(perplexity);
      assert(
        perplexity <= plain * (1 + held.growth),
        `${words}: perplexity grew from ${plain} to ${perplexity}`,
      );
      const golden = await goldenAgreement(scorer, NUM_PROMPTS);
      assert(golden >= held.golden, `${words}: ${golden} of the golden ids stayed`);
      // Greedy answers from end to end of the engine.
      const engine = await DemoEngine.create(device, choiceOf(flags));
      const { table_12: share } = await recallByTask(engine, { only: "table_12", count: 20 });
      assert(share! * 20 >= held.recall, `${words}: recall is ${share}`);
    }
    device.destroy();
  },
});
