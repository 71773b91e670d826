import { assert, assertEquals } from "@std/assert";
import type { TokenLogprob } from "../../src/core/batch.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { DemoEngine, GREEDY_64 } from "../support/demo_engine.ts";
import { convertLlama2c } from "../support/llama2c_checkpoint.ts";

/** A trained model that nobody here made; its licence keeps it out of the project. */
const FOLDER = new URL("../../../shared/data/weights/stories260K/", import.meta.url);

interface Case {
  readonly prompt: string;
  readonly prompt_ids: readonly number[];
  /** 96 tokens; the closest two candidates at any position are 0.0098 apart. */
  readonly greedy_ids: readonly number[];
  /** The likeliest five of each of them. */
  readonly steps: readonly { readonly top5: readonly (readonly [id: number, logprob: number])[] }[];
}

/** Largest difference of f32 arithmetic to log-probabilities of float64. */
const TOLERANCE = 1e-4;

const isPresent = await Deno.stat(FOLDER).then(() => true, () => false);
// deno-lint-ignore no-console -- a skip must say why
if (!isPresent) console.warn("skipped: ../shared/data/weights/stories260K is absent");

function checkTop5(
  seen: readonly TokenLogprob[] = [],
  golden: Case["steps"][number]["top5"],
): void {
  const logprobs = new Map(seen.map(({ token, logprob }) => [token, logprob]));
  for (const [token, logprob] of golden) {
    const off = Math.abs((logprobs.get(token) ?? NaN) - logprob);
    assert(off < TOLERANCE, `token ${token}: ${logprobs.get(token)} and ${logprob}`);
  }
}

async function checkStories(device: Device): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await convertLlama2c(new URL("stories260K.bin", FOLDER).pathname, dir);
    const engine = await DemoEngine.create(device, { modelDir: dir, kvCacheDtype: "f32" });
    const golden = await Deno.readTextFile(new URL("golden-fp64.json", FOLDER));
    const cases: readonly Case[] = JSON.parse(golden).cases;
    const outcomes = await engine.generate(cases.map(({ prompt_ids, greedy_ids }) => ({
      prompt: prompt_ids,
      params: { ...GREEDY_64, maxTokens: greedy_ids.length, numLogprobs: 5 },
    })));
    outcomes.forEach(({ tokens, sampled }, i) => {
      const { greedy_ids, prompt, steps } = cases[i]!;
      assertEquals(tokens, greedy_ids, prompt);
      sampled.forEach(({ topLogprobs }, step) => checkTop5(topLogprobs, steps[step]!.top5));
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

if (isPresent) {
  gpuTest("a real checkpoint with heads of 8 gives its golden ids on WebGPU", checkStories);
}
Deno.test({
  name: "a real checkpoint with heads of 8 gives its golden ids on the reference device",
  ignore: !isPresent,
  fn: () => checkStories(new ReferenceDevice()),
});
