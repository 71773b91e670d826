import { assert, assertEquals } from "@std/assert";
import type { KvCacheDtype } from "../../src/core/engine_config.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { DemoEngine, goldenPrompts, GREEDY_64, type Outcome } from "../support/demo_engine.ts";

/** Positions whose best two tokens are closer than this may come out either way. */
const MIN_MARGIN = 0.01;
/** Log-probabilities: f32 arithmetic on the f16 weights, in any order of additions. */
const LOGPROB_ERROR = 2e-3;

const PROMPTS = goldenPrompts();

async function golden(device: Device, kvCacheDtype: KvCacheDtype): Promise<Outcome[]> {
  const engine = await DemoEngine.create(device, { kvCacheDtype });
  const outcomes = await engine.generate(
    PROMPTS.map(({ prompt_ids }) => ({
      prompt: prompt_ids,
      params: { ...GREEDY_64, numLogprobs: 5 },
    })),
  );
  outcomes.forEach(({ tokens }, i) => {
    const { id, greedy_ids, margins } = PROMPTS[i]!;
    const unsure = margins.findIndex((margin) => margin < MIN_MARGIN);
    const end = unsure === -1 ? greedy_ids.length : unsure;
    assertEquals(tokens.slice(0, end), greedy_ids.slice(0, end), id);
  });
  return outcomes;
}

/** Largest error of the file's top five, at the positions before a near tie. */
function worstLogprob(outcomes: readonly Outcome[]): number {
  let worst = 0;
  outcomes.forEach(({ tokens, sampled }, i) => {
    const { id, top5, greedy_ids } = PROMPTS[i]!;
    top5.forEach((expected, position) => {
      if (tokens.slice(0, position).join() !== greedy_ids.slice(0, position).join()) return;
      const { logprob, topLogprobs } = sampled[position]!;
      assertEquals(topLogprobs![0]!.logprob, logprob, id);
      for (const { id: token, logprob } of expected) {
        const found = topLogprobs!.find((top) => top.token === token);
        // Fifth and sixth may change places only if they are as close as the error allows.
        const actual = found?.logprob ?? topLogprobs![4]!.logprob;
        worst = Math.max(worst, Math.abs(actual - logprob));
      }
    });
  });
  return worst;
}

async function checkGolden(device: Device): Promise<void> {
  const worst = worstLogprob(await golden(device, "f32"));
  assert(worst < LOGPROB_ERROR, `log-probabilities differ by ${worst}`);
  assert(worst > 0, "nothing was compared");
}

gpuTest("the bundled model gives its golden ids and log-probabilities on WebGPU", checkGolden);

gpuTest("the bundled model gives its golden ids with KV rounded to f16", async (device) => {
  await golden(device, "f16");
});

Deno.test("the bundled model gives its golden ids and log-probabilities on the reference device", () =>
  checkGolden(new ReferenceDevice()));
