import { assertEquals } from "@std/assert";
import type { WeightSpec } from "../../models/model.ts";
import { loadModel } from "../../src/runner/load_model.ts";
import { StartupPhases } from "../../src/runner/startup_phases.ts";
import { unusedTensors, warnOfUnused } from "../../src/runner/load_notices.ts";
import { DEMO_DIR } from "../support/demo_engine.ts";
import { logLines } from "../support/log_lines.ts";

const WEIGHTS: WeightSpec[] = [
  { name: "qkv", tensors: ["q", "k"], shapes: [[4, 4], [4, 4]] },
  { name: "norm", tensors: ["norm"], shapes: [[4]] },
];

Deno.test("unusedTensors() names what no weight is made of, without what is known to be harmless", () => {
  const names = [
    "q",
    "q.bias",
    "model.layers.0.self_attn.rotary_emb.inv_freq",
    "norm",
    "lm_head.weight",
    "k",
    "inv_freq",
  ];
  assertEquals(unusedTensors(names, { weights: WEIGHTS, ignoredTensors: ["lm_head.weight"] }), [
    "q.bias",
    "inv_freq",
  ]);
  assertEquals(unusedTensors(names, { weights: WEIGHTS, ignoredTensors: [] }), [
    "q.bias",
    "lm_head.weight",
    "inv_freq",
  ]);
});

Deno.test("warnOfUnused() names five tensors at most and counts all, and says nothing without any", () => {
  const { log, lines } = logLines();
  warnOfUnused(log, []);
  warnOfUnused(log, ["a", "b", "c", "d", "e"]);
  warnOfUnused(log, ["a", "b", "c", "d", "e", "f", "g"]);
  assertEquals(lines.map(({ level, count, tensors }) => [level, count, tensors]), [
    ["warn", 5, "a, b, c, d, e"],
    ["warn", 7, "a, b, c, d, e, and 2 more"],
  ]);
});

Deno.test("loadModel() logs what of a model's files it does not use, and nothing for a model in order", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const json = JSON.parse(await Deno.readTextFile(`${DEMO_DIR}/config.json`));
    const { num_hidden_layers: numLayers } = json;
    await Deno.copyFile(`${DEMO_DIR}/model.safetensors`, `${dir}/model.safetensors`);
    const messagesFor = async (changes: Record<string, unknown>) => {
      await Deno.writeTextFile(`${dir}/config.json`, JSON.stringify({ ...json, ...changes }));
      const { log, lines } = logLines();
      const limits = { maxNumSeqs: 1, maxNumBatchedTokens: 16, maxNumQueuedSeqs: 1 };
      await loadModel(
        {
          ...{ modelDir: dir, device: "cpu", blockSize: 16, kvCacheDtype: "f16" },
          ...{ enablePrefixCaching: false, numBlocksOverride: 8, maxModelLen: 64, ...limits },
        },
        new StartupPhases(() => {}),
        log,
      );
      return lines.map(({ message, count, tensors }) => [message, count, tensors]);
    };
    assertEquals(await messagesFor({}), []);
    const last = `model.layers.${numLayers - 1}.`;
    const [scaling, unused, ...others] = await messagesFor({
      num_hidden_layers: numLayers - 1,
      rope_scaling: { factor: 2 },
    });
    assertEquals(others, []);
    assertEquals(
      scaling![0],
      `${dir}/config.json rope_scaling has no type and counts as "default", without factor`,
    );
    assertEquals(unused![1], 9);
    assertEquals(String(unused![2]).split(last).length, 6);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
