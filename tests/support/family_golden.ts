import type { TokenId } from "../../src/core/ids.ts";
import type { Device } from "../../src/device/device.ts";
import { DemoEngine, GREEDY_64 } from "./demo_engine.ts";
import { type HashedModel, writeHashedModel } from "./hashed_checkpoint.ts";
import { LogitRecorder } from "./logit_recorder.ts";
import { Scorer } from "./perplexity.ts";

/** What `tests/golden/families.py` computed of a tiny model with a family's quirks. */
export interface FamilyGolden extends HashedModel {
  readonly name: string;
  readonly prompt: readonly TokenId[];
  /** Greedy tokens after the prompt; at each the best two logits are `least_margin` apart. */
  readonly tokens: readonly TokenId[];
  readonly least_margin: number;
  readonly steps_per_unit: number;
  /** Base64 of i16 `[prompt.length, V]`, in units of `1 / steps_per_unit`: the prompt's logits. */
  readonly logits: string;
}

/** All cases, one a line of `tests/golden/families_golden.json`. */
export function familyGoldens(): readonly FamilyGolden[] {
  const file = new URL("../golden/families_golden.json", import.meta.url);
  return JSON.parse(Deno.readTextFileSync(file));
}

/** Runs `use` with the directory of a case's checkpoint, which is gone after it. */
export async function withFamily<T>(
  golden: FamilyGolden,
  use: (modelDir: string) => Promise<T>,
): Promise<T> {
  const modelDir = await Deno.makeTempDir({ prefix: "quire_family_" });
  try {
    await writeHashedModel(modelDir, golden);
    return await use(modelDir);
  } finally {
    await Deno.remove(modelDir, { recursive: true });
  }
}

/** Expected logits after each token of the prompt. */
export function expectedLogits({ prompt, logits, steps_per_unit }: FamilyGolden): Float32Array[] {
  const { buffer } = Uint8Array.fromBase64(logits);
  const steps = new Int16Array(buffer);
  const vocabSize = steps.length / prompt.length;
  return prompt.map((_, row) =>
    Float32Array.from(
      steps.subarray(row * vocabSize, (row + 1) * vocabSize),
      (step) => step / steps_per_unit,
    )
  );
}

/** Logits after each token of the prompt, each computed as a decode, nothing cached. */
export async function decodedLogits(
  device: Device,
  modelDir: string,
  { prompt }: FamilyGolden,
): Promise<Float32Array[]> {
  const scorer = await Scorer.create(device, { modelDir, kvCacheDtype: "f32" });
  return await scorer.logits(prompt);
}

/**
 * Logits after each token of the prompt by a prompt that ends there: what the shorter ones have left in
 * the prefix cache is found, and the rest, of one to a block's tokens, is a chunk of a prefill.
 */
export async function prefilledLogits(
  device: Device,
  modelDir: string,
  { prompt, config }: FamilyGolden,
): Promise<Float32Array[]> {
  const recorder = new LogitRecorder(device, config["vocab_size"] as number);
  const engine = await DemoEngine.create(recorder.device, {
    modelDir,
    kvCacheDtype: "f32",
    enablePrefixCaching: true,
    blockSize: 8,
  });
  const arrivals = prompt.map((_, last) => ({
    prompt: prompt.slice(0, last + 1),
    params: { ...GREEDY_64, maxTokens: 1, seed: last },
  }));
  await engine.generate(arrivals, undefined, (batch) => recorder.record(batch));
  return prompt.map((_, last) => new Float32Array(recorder.draws.get(`${last}/0`)!.buffer));
}
