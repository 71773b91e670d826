import { assert, assertEquals } from "@std/assert";
import { type Tuning, tuningFor } from "../../kernels/tuning/tuning.ts";
import {
  productVariants,
  ROW_CLASSES,
  stageVariants,
  type TuningVariant,
} from "../../kernels/tuning/tuning_variants.ts";
import type { Tier } from "../../src/device/capabilities.ts";
import type { Device } from "../../src/device/device.ts";
import { actingAs } from "../support/acting_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { DemoEngine, goldenPrompts, GREEDY_64 } from "../support/demo_engine.ts";

/** A product per epilogue; `o` and `head` have those of `down` and `qkv`, and are as the tuning has them. */
const PRODUCTS = ["qkv", "gate_up", "down"];
const PARTS = ["decode", "prefill", "sampling"] as const;
/** Positions whose best two tokens are closer than this may come out either way. */
const MIN_MARGIN = 0.01;
/** Prompts and their lengths of output: so many rows per step at first, and ever fewer, down to one. */
const PROMPTS = goldenPrompts().slice(0, 10);
const NUM_TOKENS = PROMPTS.map((_, i) => 2 + i);

/** The tunings that hold the first, second, ... variants of all operations at once. */
function* tunings(tier: Tier, device: Device): Generator<readonly [string, Tuning]> {
  const { capabilities } = device;
  const hasSubgroups = tier !== "baseline" && capabilities.hasSubgroups;
  // Tiles of gemm are the same with and without subgroups, and take long to compile.
  const isDeterministic = tier === "subgroups";
  const tuning = tuningFor({ ...capabilities, tier, hasSubgroups }, { isDeterministic });
  const lists: (readonly TuningVariant[])[] = [
    ...PRODUCTS.flatMap((label) =>
      ROW_CLASSES.map((rows) => productVariants(tier, tuning, label, rows))
    ),
    // Those of attention and sampling know nothing of subgroups: once for both kinds of GPU.
    ...tier === "subgroups" ? [] : PARTS.map((part) => stageVariants(tier, part)),
  ];
  const most = Math.max(...lists.map((variants) => variants.length));
  for (let i = 1; i < most; i++) {
    const chosen = lists.map((variants) => variants[i]).filter((variant) => variant !== undefined);
    const words = [...new Set(chosen.map(({ name }) => name))].join("; ");
    yield [words, chosen.reduce((tuned, { apply }) => apply(tuned), tuning)];
  }
}

for (const tier of ["software", "baseline", "subgroups"] as const) {
  gpuTest(`every variant of every operation gives the golden ids: ${tier}`, async (gpu) => {
    // Weights lie in memory as the tier wants them.
    const device = actingAs(gpu, { tier });
    let numTunings = 0;
    for (const [words, tuning] of tunings(tier, device)) {
      const engine = await DemoEngine.create(device, { maxNumBatchedTokens: 96 }, { tuning });
      const outcomes = await engine.generate(
        PROMPTS.map(({ prompt_ids }, i) => ({
          prompt: prompt_ids,
          params: { ...GREEDY_64, maxTokens: NUM_TOKENS[i]! },
        })),
      );
      outcomes.forEach(({ tokens }, i) => {
        const { id, greedy_ids, margins } = PROMPTS[i]!;
        const unsure = margins.findIndex((margin) => margin < MIN_MARGIN);
        const end = Math.min(NUM_TOKENS[i]!, unsure === -1 ? Infinity : unsure);
        assertEquals(tokens.slice(0, end), greedy_ids.slice(0, end), `${id}: ${words}`);
      });
      numTunings++;
    }
    assert(numTunings >= 3, `${numTunings} tunings were tried`);
  });
}
