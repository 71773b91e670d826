/**
 * `deno task bench:weight-quality`: what quantized weights cost the bundled model in quality.
 *
 * Perplexity of the evaluation stories, share of the golden greedy ids that stay the likeliest, and exact
 * answers in the recall and table tasks, on the device found; the last line is the same as JSON. KV is in f32
 * for the first two, so that weights alone are measured, and in f16 for the tasks.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import type { Quantization } from "../src/core/weight_format.ts";
import { table } from "../src/plan/plan_text.ts";
import { openDevice } from "../src/runner/open_device.ts";
import { DemoEngine } from "../tests/support/demo_engine.ts";
import { goldenAgreement, Scorer, storyPerplexity } from "../tests/support/perplexity.ts";
import { recallByTask } from "../tests/support/recall.ts";

const FORMATS: readonly (Quantization | undefined)[] = [
  undefined,
  { method: "int8", groupSize: 32 },
  { method: "int8", groupSize: 128 },
  { method: "int4", groupSize: 32 },
  { method: "int4", groupSize: 128 },
];

async function measure(quantization: Quantization | undefined) {
  const device = await openDevice("auto");
  const config = quantization === undefined ? {} : { quantization };
  const scorer = await Scorer.create(device, { ...config, kvCacheDtype: "f32" });
  const engine = await DemoEngine.create(device, { ...config, numBlocksOverride: 2048 });
  const result = {
    weights: quantization === undefined
      ? "f16"
      : `${quantization.method}, groups of ${quantization.groupSize}`,
    perplexity: await storyPerplexity(scorer),
    agreement: await goldenAgreement(scorer),
    recall: await recallByTask(engine),
  };
  device.destroy();
  return result;
}

const results = [];
for (const quantization of FORMATS) {
  const result = await measure(quantization);
  results.push(result);
  console.log(JSON.stringify(result));
}
const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
const tasks = Object.keys(results[0]!.recall);
console.log(table([
  ["weights", "perplexity", "golden ids", ...tasks],
  ...results.map(({ weights, perplexity, agreement, recall }) => [
    weights,
    perplexity.toFixed(4),
    percent(agreement),
    ...tasks.map((task) => percent(recall[task]!)),
  ]),
]));
console.log(JSON.stringify(results));
