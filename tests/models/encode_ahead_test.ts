import { assert, assertEquals } from "@std/assert";
import { withoutAhead } from "../../bench/encode_ahead.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { CountingProvider } from "../support/counting_provider.ts";
import {
  type Arrival,
  DemoEngine,
  goldenPrompts,
  GREEDY_64,
  type Outcome,
} from "../support/demo_engine.ts";

const NUM_TOKENS = 24;
const PROMPTS = goldenPrompts().slice(0, 4);

/** Sequences that join while others decode, and end one by one, as what was foreseen is wrong then. */
const ARRIVALS: Arrival[] = PROMPTS.map(({ prompt_ids }, i) => ({
  prompt: prompt_ids,
  params: {
    ...GREEDY_64,
    maxTokens: NUM_TOKENS - 3 * i,
    ...(i === 2 ? { frequencyPenalty: 0.5, numLogprobs: 2 } : {}),
  },
  atStep: 5 * i,
}));

/** Runs them while the pool's memory is replaced twice. */
async function generate(device: Device): Promise<{ outcomes: Outcome[]; numSteps: number }> {
  const engine = await DemoEngine.create(device, { numBlocksOverride: 256 });
  const outcomes = await engine.generate(ARRIVALS, async (step) => {
    if (step === 9) await engine.resizeKv(300);
    if (step === 18) await engine.resizeKv(200);
  });
  return { outcomes, numSteps: engine.stats.numSteps };
}

function assertGolden(outcomes: readonly Outcome[]): void {
  outcomes.forEach(({ tokens }, i) => {
    const { id, greedy_ids, margins } = PROMPTS[i]!;
    assertEquals(tokens.length, ARRIVALS[i]!.params!.maxTokens);
    // A penalty changes what is likeliest, and a near tie may fall either way.
    const isFree = ARRIVALS[i]!.params!.numLogprobs !== undefined;
    const unsure = margins.findIndex((margin) => isFree || margin < 0.01);
    const end = unsure === -1 ? tokens.length : unsure;
    assertEquals(tokens.slice(0, end), greedy_ids.slice(0, Math.min(end, tokens.length)), id);
  });
}

gpuTest(
  "the bundled model gives its golden ids by commands recorded ahead, and the same without",
  async () => {
    const counts = new CountingProvider();
    const device = (await WebGpuDevice.open(counts.provider))!;
    const ahead = await generate(device);
    const { numEncoders, numSubmissions } = counts;
    assertGolden(ahead.outcomes);
    assertEquals((await generate(withoutAhead(device))).outcomes, ahead.outcomes);
    device.destroy();
    // Both also upload and copy; what is recorded in vain makes the difference, less than once in three steps.
    const [encoders, submissions] = [counts.numEncoders - numEncoders, counts.numSubmissions];
    const numInVain = numEncoders - encoders;
    assert(
      numInVain > 0 && numInVain < ahead.numSteps / 3,
      `${numInVain} of ${ahead.numSteps} in vain`,
    );
    assert(submissions - numSubmissions < numSubmissions, "nothing was freed");
  },
);

Deno.test("the bundled model gives its golden ids on the reference device, which records nothing", async () => {
  assertGolden((await generate(new ReferenceDevice())).outcomes);
});
