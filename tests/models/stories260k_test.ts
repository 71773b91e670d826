import { assertEquals } from "@std/assert";
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
}

const isPresent = await Deno.stat(FOLDER).then(() => true, () => false);
// deno-lint-ignore no-console -- a skip must say why
if (!isPresent) console.warn("skipped: ../shared/data/weights/stories260K is absent");

async function checkStories(device: Device): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await convertLlama2c(new URL("stories260K.bin", FOLDER).pathname, dir);
    const engine = await DemoEngine.create(device, { modelDir: dir, kvCacheDtype: "f32" });
    const golden = await Deno.readTextFile(new URL("golden-fp64.json", FOLDER));
    const cases: readonly Case[] = JSON.parse(golden).cases;
    const outcomes = await engine.generate(cases.map(({ prompt_ids, greedy_ids }) => ({
      prompt: prompt_ids,
      params: { ...GREEDY_64, maxTokens: greedy_ids.length },
    })));
    outcomes.forEach(({ tokens }, i) => {
      assertEquals(tokens, cases[i]!.greedy_ids, cases[i]!.prompt);
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
