import { assert } from "@std/assert";
import { parseConfig, toEngineConfig } from "../../src/core/config.ts";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { DEMO_DIR, DemoEngine } from "../support/demo_engine.ts";
import { demoGguf } from "../support/gguf_checkpoint.ts";
import {
  divergence,
  evaluationStories,
  goldenAgreement,
  logitsOfTexts,
  perplexityOfLogits,
  Scorer,
} from "../support/perplexity.ts";
import { recallByTask } from "../support/recall.ts";

/** How a model's matrices are multiplied, as a command line has it, and what that may cost. */
interface Format {
  readonly flags: readonly string[];
  /** By how much the perplexity of held-out stories may grow, as a share. */
  readonly growth: number;
  /** Most that distributions may be away from those of the weights as stored, nats per token. */
  readonly divergence: number;
  /** Least share of the golden ids that stay the likeliest. */
  readonly golden: number;
  /** Least number of so many recalls that are right. */
  readonly recall: readonly [number, of: number];
}

/** int4 has more recalls than others: single ones are a matter of luck, and its loss is largest. */
const FORMATS: readonly Format[] = [
  {
    flags: ["--quantization", "int8"],
    ...{ growth: 0.005, divergence: 0.0001, golden: 0.99, recall: [19, 20] },
  },
  {
    flags: ["--quantization", "int8", "--int8-activations", "on"],
    ...{ growth: 0.005, divergence: 0.0002, golden: 0.985, recall: [18, 20] },
  },
  {
    flags: ["--quantization", "int4"],
    ...{ growth: 0.02, divergence: 0.0016, golden: 0.95, recall: [54, 60] },
  },
  {
    flags: ["--quantization", "int4", "--int8-activations", "on"],
    ...{ growth: 0.02, divergence: 0.0025, golden: 0.94, recall: [18, 20] },
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

const STORIES = evaluationStories().slice(0, NUM_STORIES);

/** How far weights in a format of llama.cpp, four bits of the embedding too, are from the stored. */
async function divergenceOfQ4_0(device: Device, plain: Float32Array[][]): Promise<number> {
  const dir = await Deno.makeTempDir();
  try {
    const modelDir = `${dir}/q4_0.gguf`;
    await Deno.writeFile(modelDir, demoGguf("Q4_0"));
    const logits = await logitsOfTexts(await Scorer.create(device, { modelDir }), STORIES);
    return divergence(plain.flat(), logits.flat());
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test({
  name:
    "quantized weights and activations keep the bundled model's quality, on the device there is",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const device = await WebGpuDevice.open() ?? new ReferenceDevice();
    const plain = await logitsOfTexts(await Scorer.create(device, {}), STORIES);
    const plainPerplexity = perplexityOfLogits(STORIES, plain);
    const apart = new Map<string, number>();
    for (const { flags, recall: [least, count], ...held } of FORMATS) {
      const words = flags.join(" ");
      const scorer = await Scorer.create(device, choiceOf(flags));
      const logits = await logitsOfTexts(scorer, STORIES);
      const grown = perplexityOfLogits(STORIES, logits) / plainPerplexity - 1;
      assert(grown <= held.growth, `${words}: perplexity grew by ${grown}`);
      const nats = divergence(plain.flat(), logits.flat());
      assert(nats <= held.divergence, `${words}: ${nats} nats per token`);
      assert(!new Set([0, ...apart.values()]).has(nats), `${words}: nothing else was quantized`);
      apart.set(words, nats);
      const golden = await goldenAgreement(scorer, NUM_PROMPTS);
      assert(golden >= held.golden, `${words}: ${golden} of the golden ids stayed`);
      // Greedy answers from end to end of the engine.
      const engine = await DemoEngine.create(device, choiceOf(flags));
      const { table_12: share } = await recallByTask(engine, { only: "table_12", count });
      assert(share! * count >= least, `${words}: recall is ${share}`);
    }
    const ofQ4_0 = await divergenceOfQ4_0(device, plain);
    const ours = apart.get("--quantization int4")!;
    assert(ours < 0.5 * ofQ4_0, `${ours} nats per token, Q4_0 ${ofQ4_0}`);
    device.destroy();
  },
});
