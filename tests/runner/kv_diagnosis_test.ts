import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { withProperties } from "../support/acting_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { DemoEngine, goldenPrompts, GREEDY_64 } from "../support/demo_engine.ts";
import { OVERFLOWING_TOKEN, writeOverflowingModel } from "../support/overflowing_model.ts";

const PARAMS = { ...GREEDY_64, maxTokens: 4 };
const GOOD = goldenPrompts()[0]!.prompt_ids;

async function withModel(layer: number, run: (modelDir: string) => Promise<void>): Promise<void> {
  const modelDir = Deno.makeTempDirSync({ prefix: "quire-diagnosis-" });
  try {
    writeOverflowingModel(modelDir, layer);
    await run(modelDir);
  } finally {
    Deno.removeSync(modelDir, { recursive: true });
  }
}

/** What a sequence is told whose token `at` overflows, one of `numBad` in a step with another. */
async function errorsOf(device: Device, modelDir: string, positions: readonly number[]) {
  const engine = await DemoEngine.create(device, { modelDir, enablePrefixCaching: true });
  const bads = positions.map((at) => ({
    prompt: [...new Array(at).fill(300 + at), OVERFLOWING_TOKEN, 5, 6],
    params: PARAMS,
  }));
  const outcomes = await engine.generate([...bads, { prompt: GOOD, params: PARAMS }]);
  assertEquals(outcomes.at(-1)!.tokens.length, 4);
  const errors = outcomes.slice(0, -1).map(({ error }) => error);
  return { errors, numCachedBlocks: engine.stats.numCachedBlocks };
}

async function checkPlaces(device: Device): Promise<void> {
  for (const layer of [0, 3, 5]) {
    await withModel(layer, async (modelDir) => {
      const positions = [0, 1, 15, 16, 40];
      const { errors } = await errorsOf(device, modelDir, positions);
      assertEquals(
        errors.map((error) => error?.details),
        positions.map((position) => ({ layer, position })),
      );
    });
  }
}

gpuTest("KvDiagnosis names layer and position of each sequence of a step", checkPlaces);
Deno.test("KvDiagnosis names layer and position of each sequence of a step, reference device", () =>
  checkPlaces(new ReferenceDevice()));

Deno.test("a sequence fails alone also where there is no room for its diagnosis", async () => {
  const device = new ReferenceDevice();
  const full = withProperties(device, {
    createBuffer: (label: string, bytes: number) =>
      label === "kv damage"
        ? Promise.reject(new RangeError("no room"))
        : device.createBuffer(label, bytes),
  });
  await withModel(2, async (modelDir) => {
    const { errors, numCachedBlocks } = await errorsOf(full, modelDir, [40]);
    assertEquals(errors[0]?.code, "nonfinite_logits");
    assert(!errors[0]!.message.includes("layer"), errors[0]!.message);
    assertEquals(numCachedBlocks, Math.floor((GOOD.length + 3) / 16));
  });
});

Deno.test("KvDiagnosis takes nothing for sound where a window hides where the damage began", async () => {
  const cache = { kind: "sliding_window", window: 20, numKvHeads: 2, headDim: 32 } as const;
  await withModel(0, async (modelDir) => {
    const config = { modelDir, enablePrefixCaching: true, maxNumBatchedTokens: 16 };
    const options = { caches: Array.from({ length: 6 }, () => cache) };
    const engine = await DemoEngine.create(new ReferenceDevice(), config, options);
    const prompt = [...new Array(5).fill(305), OVERFLOWING_TOKEN, ...new Array(34).fill(7)];
    const [{ error } = {}] = await engine.generate([{ prompt, params: PARAMS }]);
    // The last chunk begins at 32 and reads from 13 on; later layers have no number from 6 on.
    assertEquals(error?.details, { layer: 1, position: 13 });
    assertEquals(engine.stats.numCachedBlocks, 0);
  });
});
