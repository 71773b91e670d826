/**
 * A family with every quirk at once on the kernels that GPUs run, by a software adapter: norms that are
 * part of products, GELU, norms after blocks, and windows and soft caps by workgroups.
 * `families_test.ts` has all families on the kernels of software adapters.
 */
import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../src/device/device.ts";
import { actingAs } from "../support/acting_device.ts";
import { gpuTest, worstError } from "../support/agreement.ts";
import {
  decodedLogits,
  expectedLogits,
  familyGoldens,
  prefilledLogits,
  withFamily,
} from "../support/family_golden.ts";

/** As in `families_test.ts`. */
const LOGIT_ERROR = 2e-3;

const GOLDEN = familyGoldens().find(({ name }) => name === "gemma2")!;

/** Twice the window, and more than one split of a context. */
const NUM_TOKENS = 72;

const BASELINE = { tier: "baseline", hasSubgroups: false, subgroupMinSize: 0 } as const;

async function check(device: Device, logits: typeof decodedLogits): Promise<void> {
  const expected = expectedLogits(GOLDEN);
  const short = { ...GOLDEN, prompt: GOLDEN.prompt.slice(0, NUM_TOKENS) };
  const actual = await withFamily(GOLDEN, (modelDir) => logits(device, modelDir, short));
  assertEquals(actual.length, NUM_TOKENS);
  for (const [position, row] of actual.entries()) {
    const error = worstError(row, expected[position]!);
    assert(error < LOGIT_ERROR, `logits after position ${position} are off by ${error}`);
  }
}

gpuTest(
  "a step of 32 decodes of Gemma 2 gives its formulas' logits on a GPU's kernels",
  (gpu) => check(actingAs(gpu, BASELINE), decodedLogits),
);

gpuTest("chunks of up to 8 tokens of Gemma 2 do, with subgroups", async (gpu) => {
  if (!gpu.capabilities.hasSubgroups) {
    // deno-lint-ignore no-console -- a skip must say why
    return console.warn("skipped: the adapter grants no subgroups");
  }
  await check(actingAs(gpu, { tier: "subgroups" }), prefilledLogits);
});
