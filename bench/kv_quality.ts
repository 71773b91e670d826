/**
 * `deno task bench:kv-quality`: what each element type of K and V costs the bundled model in quality.
 *
 * Perplexity of the evaluation stories, share of the golden greedy ids that stay the likeliest, and exact
 * answers in the recall and table tasks, on the device found; the last line is the same as JSON. Arguments
 * such as `int8 int4` choose among the element types; `--quick` takes one case of each.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import type { EngineConfig, KvCacheDtype } from "../src/core/engine_config.ts";
import { bytesPerToken } from "../src/plan/kv_dtypes.ts";
import { DEMO_PRESET } from "../src/plan/presets.ts";
import { presetShape } from "../src/server/model_shape.ts";
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

const FORMATS: readonly (readonly [KvCacheDtype, f16EdgeLayers: boolean])[] = [
  ["f32", false],
  ["f16", false],
  ["int8", false],
  ["fp8", false],
  ["int4", true],
  ["int4", false],
];

async function measure(dtype: KvCacheDtype, f16EdgeLayers: boolean) {
  const device = await openDevice("auto");
  const config: Partial<EngineConfig> = {
    kvCacheDtype: dtype,
    kvCacheF16EdgeLayers: f16EdgeLayers,
  };
  const scorer = await Scorer.create(device, config);
  const result = {
    dtype,
    f16EdgeLayers,
    bytesPerToken: bytesPerToken(presetShape(DEMO_PRESET)!, { dtype, f16EdgeLayers }),
    perplexity: await storyPerplexity(scorer, NUM_CASES.stories),
    agreement: await goldenAgreement(scorer, NUM_CASES.prompts),
    recall: await recallByTask(
      await DemoEngine.create(device, { ...config, numBlocksOverride: 2048 }),
      { count: NUM_CASES.questions },
    ),
  };
  device.destroy();
  return result;
}

const results = [];
for (const [dtype, f16EdgeLayers] of FORMATS) {
  if (chosen.length > 0 && !chosen.includes(dtype)) continue;
  const result = await measure(dtype, f16EdgeLayers);
  results.push(result);
  console.log(JSON.stringify(result));
}
const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
const tasks = Object.keys(results[0]!.recall);
console.log(table([
  ["KV dtype", "bytes per token", "perplexity", "golden ids", ...tasks],
  ...results.map(({ dtype, f16EdgeLayers, bytesPerToken, perplexity, agreement, recall }) => [
    f16EdgeLayers ? `${dtype}, f16 edges` : dtype,
    String(bytesPerToken),
    perplexity.toFixed(4),
    percent(agreement),
    ...tasks.map((task) => percent(recall[task]!)),
  ]),
]));
console.log(JSON.stringify(results));
