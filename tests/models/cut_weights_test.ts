import { assert, assertEquals } from "@std/assert";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { Quantization } from "../../src/core/weight_format.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { BoundedDevice } from "../support/bounded_device.ts";
import { type Arrival, DemoEngine, goldenPrompts, GREEDY_64 } from "../support/demo_engine.ts";

/** Less than any of the bundled model's matrices in f16, and than some in int4. */
const F16_LIMIT = 65_536;
const INT4_LIMIT = 24_576;
/** Positions whose best two tokens are closer than this may come out either way. */
const MIN_MARGIN = 0.01;

/** Those that fit with their answers into the 256 tokens of KV that can be bound. */
const PROMPTS = goldenPrompts().filter(({ prompt_ids }) => prompt_ids.length <= 192);

/** Tokens and log-probabilities of the prompts, and the engine they come from. */
async function generate(
  device: Device,
  config: Partial<EngineConfig>,
  arrivals: readonly Arrival[],
) {
  const engine = await DemoEngine.create(device, config);
  const outcomes = await engine.generate(arrivals);
  return outcomes.map(({ tokens, sampled }) => ({ tokens, sampled }));
}

/** A pool and steps that can be bound: lowered ones would run other batches, whose last bits may differ. */
function smallConfig(limit: number) {
  return { numBlocksOverride: Math.floor(limit / 4096), maxNumSeqs: 3, maxNumBatchedTokens: 12 };
}

/** Names of the weights that were cut, without what tells parts and layers apart. */
function cutNames(device: BoundedDevice): string[] {
  const parts = device.buffers.map(({ label }) => label).filter((label) => label.includes(" ["));
  return [...new Set(parts.map((label) => label.replace(/^\d+\.| \[.*/g, "")))].sort();
}

async function checkGolden(device: Device): Promise<void> {
  const bounded = new BoundedDevice(device, F16_LIMIT);
  const arrivals = PROMPTS.map(({ prompt_ids: prompt }) => ({ prompt, params: GREEDY_64 }));
  // More sequences and tokens per step than can be bound: the runner takes fewer.
  const { numBlocksOverride } = smallConfig(F16_LIMIT);
  const outcomes = await generate(bounded, { numBlocksOverride }, arrivals);
  assertEquals(cutNames(bounded), ["down", "embed", "gate_up", "o", "qkv"]);
  outcomes.forEach(({ tokens }, i) => {
    const { id, greedy_ids, margins } = PROMPTS[i]!;
    const unsure = margins.findIndex((margin) => margin < MIN_MARGIN);
    const end = unsure === -1 ? greedy_ids.length : unsure;
    assertEquals(tokens.slice(0, end), greedy_ids.slice(0, end), id);
  });
  bounded.close();
}

async function checkBits(
  device: Device,
  limit: number,
  quantization: Quantization | undefined,
): Promise<void> {
  const config = {
    ...smallConfig(limit),
    ...(quantization === undefined ? {} : { quantization }),
  };
  // Log-probabilities of a step are of logits in f32: equal ones are of equal bits.
  const params = { ...GREEDY_64, maxTokens: 12, numLogprobs: 20 };
  const arrivals = PROMPTS.slice(0, 4).map(({ prompt_ids }) => ({
    prompt: prompt_ids.slice(0, 20),
    params,
  }));
  const whole = await generate(device, config, arrivals);
  const bounded = new BoundedDevice(device, limit);
  assertEquals(await generate(bounded, config, arrivals), whole);
  assert(cutNames(bounded).includes("embed"), "nothing was cut");
  bounded.close();
}

gpuTest("the bundled model gives its golden ids with every matrix in parts on WebGPU", checkGolden);

Deno.test("the bundled model gives its golden ids with every matrix in parts on the reference device", () =>
  checkGolden(new ReferenceDevice()));

const FORMATS = [
  ["f16", F16_LIMIT, undefined],
  ["int8", F16_LIMIT, { method: "int8", groupSize: 32 }],
  ["int4", INT4_LIMIT, { method: "int4", groupSize: 128 }],
] as const;

for (const [name, limit, quantization] of FORMATS) {
  gpuTest(
    `the bundled model in parts gives the bits of the whole on WebGPU: ${name}`,
    (device) => checkBits(device, limit, quantization),
  );

  Deno.test(`the bundled model in parts gives the bits of the whole on the reference device: ${name}`, () =>
    checkBits(new ReferenceDevice(), limit, quantization));
}
