import { assert, assertEquals } from "@std/assert";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { type Arrival, DemoEngine, goldenPrompts, GREEDY_64 } from "../support/demo_engine.ts";
import { OVERFLOWING_TOKEN, writeOverflowingModel } from "../support/overflowing_model.ts";

const LAYER = 2;
const PROMPTS = goldenPrompts().map(({ prompt_ids }) => prompt_ids.slice(0, 40));
const WIDTH = { width: 3, lengthPenalty: 1, earlyStopping: true };

const modelDir = Deno.makeTempDirSync({ prefix: "quire-overflow-" });
writeOverflowingModel(modelDir, LAYER);
globalThis.addEventListener("unload", () => Deno.removeSync(modelDir, { recursive: true }));

/** Eight ordinary sequences of several ways to draw, which arrive one after the other. */
function ordinary(maxTokens: number): Arrival[] {
  const ways = [
    {},
    { temperature: 0.9, topP: 0.9, seed: 3 },
    { temperature: 1e-40, minP: 0.1 },
    { repetitionPenalty: 1.2, numLogprobs: 3 },
  ];
  return Array.from({ length: 8 }, (_, i) => ({
    prompt: PROMPTS[i]!,
    params: { ...GREEDY_64, maxTokens, ...ways[i % ways.length] },
    atStep: Math.floor(i / 3),
  }));
}

/** Prompts with the token that overflows: in the middle, at the end, and behind what another has too. */
function overflowing(maxTokens: number): Arrival[] {
  const params = { ...GREEDY_64, maxTokens };
  const [first, second] = [PROMPTS[0]!, PROMPTS[1]!];
  return [
    { prompt: [...second.slice(0, 20), OVERFLOWING_TOKEN, ...second.slice(20)], params, atStep: 1 },
    { prompt: [...first.slice(0, 33), OVERFLOWING_TOKEN], params },
    // Of several steps: what others have too is cached before anything is drawn.
    { prompt: [...first.slice(0, 33), OVERFLOWING_TOKEN, ...second, ...second, ...first], params },
    { prompt: [...first, OVERFLOWING_TOKEN, 5], params: { ...params, numLogprobs: 2 }, atStep: 2 },
    { prompt: [...second, OVERFLOWING_TOKEN], params, beamSearch: WIDTH, atStep: 2 },
    // What is read of prompts is no number either, though nothing is drawn.
    ...[{ pooling: "mean" } as const, { numLogprobs: 1 }].map((readout) => ({
      prompt: [...first.slice(0, 9), OVERFLOWING_TOKEN, 5, 6],
      params: { ...params, maxTokens: 0 },
      readout,
    })),
  ];
}

/**
 * Runs both together, again and again in a pool so small that their blocks are given to others, and
 * compares with the ordinary ones alone.
 */
async function checkIsolation(
  device: Device,
  overrides: Partial<EngineConfig>,
  { numRounds, maxTokens }: { numRounds: number; maxTokens: number },
): Promise<void> {
  const config = { modelDir, maxNumBatchedTokens: 64, numBlocksOverride: 48, ...overrides };
  const goods = ordinary(maxTokens);
  const bads = overflowing(maxTokens);
  const alone = await (await DemoEngine.create(device, config)).generate(goods);
  assert(alone.every(({ tokens }) => tokens.length === maxTokens));
  const engine = await DemoEngine.create(device, config);
  for (let round = 0; round < numRounds; round++) {
    const outcomes = await engine.generate([...bads, ...goods]);
    for (const { error, finish, tokens } of outcomes.slice(0, bads.length)) {
      assertEquals([finish, error?.code, error?.status], ["error", "nonfinite_logits", 500]);
      assert(error!.message.includes(`layer ${LAYER} at position`), error!.message);
      assert(error!.message.includes("--kv-cache-dtype f32"), error!.message);
      assertEquals(tokens, []);
    }
    assertEquals(
      outcomes.slice(bads.length).map(({ tokens, sampled }) => ({ tokens, sampled })),
      alone.map(({ tokens, sampled }) => ({ tokens, sampled })),
      `round ${round}`,
    );
  }
  const { numRunning, numWaiting, numFreeBlocks, numCachedBlocks } = engine.stats;
  assertEquals([numRunning, numWaiting, numFreeBlocks + numCachedBlocks], [0, 0, 48]);
}

for (const enablePrefixCaching of [false, true]) {
  const name = enablePrefixCaching ? "with a prefix cache" : "without a prefix cache";
  const title = `sequences whose V overflows f16 end, all others go on, ${name}`;
  gpuTest(
    `${title}, WGSL`,
    (device) => checkIsolation(device, { enablePrefixCaching }, { numRounds: 20, maxTokens: 16 }),
  );
  Deno.test(`${title}, reference device`, () =>
    checkIsolation(new ReferenceDevice(), { enablePrefixCaching }, { numRounds: 2, maxTokens: 3 }));
}

gpuTest(
  "dtypes with a scale, and f32, hold what f16 does not; f16 edge layers do not",
  async (device) => {
    const run = async (overrides: Partial<EngineConfig>) => {
      const engine = await DemoEngine.create(device, { modelDir, ...overrides });
      return (await engine.generate(overflowing(8))).map(({ finish }) => String(finish));
    };
    const ended = overflowing(8).map(() => "length");
    for (const kvCacheDtype of ["f32", "int8", "fp8", "int4"] as const) {
      assertEquals(await run({ kvCacheDtype }), ended, kvCacheDtype);
    }
    const edgeDir = Deno.makeTempDirSync({ prefix: "quire-overflow-" });
    try {
      writeOverflowingModel(edgeDir, 0);
      const failed = ended.map(() => "error");
      assertEquals(await run({ modelDir: edgeDir, kvCacheDtype: "int4" }), failed);
      const whole = { kvCacheDtype: "int4", kvCacheF16EdgeLayers: false } as const;
      assertEquals(await run({ modelDir: edgeDir, ...whole }), ended);
    } finally {
      Deno.removeSync(edgeDir, { recursive: true });
    }
  },
);
