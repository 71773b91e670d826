/**
 * `deno task bench:weight-quality`: what quantized weights, and activations, cost the bundled model in quality.
 *
 * Perplexity of the evaluation stories, share of the golden greedy ids that stay the likeliest, and exact
 * answers in the recall and table tasks, on the device found; the last line is the same as JSON. KV is in f32
 * for the first two, so that weights alone are measured, and in f16 for the tasks. Arguments such as
 * `int4 int8g32 int4g32+int8` choose among the formats: `int4` is what `--quantization int4` gives, the others
 * are for all matrices, `+int8` is with int8 activations; `--quick` takes one case of each.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import type { EngineConfig } from "../src/core/engine_config.ts";
import { type Quantization, quantizedDtype } from "../src/core/weight_format.ts";
import { table } from "../src/plan/plan_text.ts";
import { openDevice } from "../src/runner/open_device.ts";
import { DemoEngine } from "../tests/support/demo_engine.ts";
import { goldenAgreement, Scorer, storyPerplexity } from "../tests/support/perplexity.ts";
import { recallByTask } from "../tests/support/recall.ts";

const isQuick = Deno.args.includes("--quick");
const chosen = Deno.args.filter((argument) => argument !== "--quick");
/** Cases that are looked at. */
const NUM_CASES = isQuick
  ? { stories: 1, prompts: 1, questions: 1 }
  : { stories: Infinity, prompts: Infinity, questions: Infinity };

type Format = Pick<EngineConfig, "quantization" | "int8Activations">;

const QUANTIZATIONS: readonly Quantization[] = [
  { method: "int8", groupSize: 32 },
  { method: "int8", groupSize: 128 },
  { method: "int4", groupSize: 32 },
  { method: "int4", groupSize: 128 },
];
/** What `--quantization int4` gives by itself. */
const INT4 = {
  ...{ method: "int4", groupSize: 32 } as const,
  ...{ vocabulary: "int8", hasMinima: true } as const,
};
const FORMATS: readonly Format[] = [
  {},
  { quantization: INT4 },
  ...QUANTIZATIONS.flatMap((quantization): Format[] => [
    { quantization, int8Activations: "off" },
    { quantization, int8Activations: "on" },
  ]),
];

function nameOf({ quantization, int8Activations }: Format): string {
  if (quantization === undefined) return "f16";
  if (quantization === INT4) return "int4";
  return quantizedDtype(quantization) + (int8Activations === "on" ? "+int8" : "");
}

async function measure(format: Format) {
  const device = await openDevice("auto");
  const scorer = await Scorer.create(device, { ...format, kvCacheDtype: "f32" });
  const engine = await DemoEngine.create(device, { ...format, numBlocksOverride: 2048 });
  const result = {
    weights: nameOf(format),
    perplexity: await storyPerplexity(scorer, NUM_CASES.stories),
    agreement: await goldenAgreement(scorer, NUM_CASES.prompts),
    recall: await recallByTask(engine, { count: NUM_CASES.questions }),
  };
  device.destroy();
  return result;
}

const results = [];
for (const format of FORMATS) {
  if (chosen.length > 0 && !chosen.includes(nameOf(format))) continue;
  const result = await measure(format);
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
