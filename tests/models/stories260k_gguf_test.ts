import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { loadTokenizer } from "../../src/tokenizer/tokenizer.ts";
import { findModelSource } from "../../src/weights/model_source.ts";
import { gpuTest } from "../support/agreement.ts";
import { DemoEngine, GREEDY_64 } from "../support/demo_engine.ts";
import { llama2cVocabulary, roundToQ8_0, toGguf } from "../support/gguf_checkpoint.ts";
import { convertLlama2c } from "../support/llama2c_checkpoint.ts";
import { Scorer } from "../support/perplexity.ts";
import { cases } from "../support/runs.ts";

/** A trained model that nobody here made; its licence keeps it out of the project. */
const FOLDER = new URL("../../../shared/data/weights/stories260K/", import.meta.url);

/** A prompt and what float64 arithmetic makes of it. */
interface Case {
  readonly prompt: string;
  readonly prompt_ids: readonly number[];
  readonly greedy_ids: readonly number[];
  /** The likeliest five of each greedy step, and the first two's distance. */
  readonly steps: readonly {
    readonly top5: readonly (readonly [id: number, logprob: number])[];
    readonly margin: number;
  }[];
}

const isPresent = await Deno.stat(FOLDER).then(() => true, () => false);
// deno-lint-ignore no-console -- a skip must say why
if (!isPresent) console.warn("skipped: ../shared/data/weights/stories260K is absent");

const CASES: readonly Case[] = isPresent
  ? JSON.parse(Deno.readTextFileSync(new URL("golden-fp64.json", FOLDER))).cases
  : [];

/** Largest difference of f32 arithmetic to the golden log-probabilities, which have 8 decimals. */
const F32_TOLERANCE = 1e-4;

async function inTempDir(run: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await convertLlama2c(new URL("stories260K.bin", FOLDER).pathname, dir);
    await run(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function vocabulary() {
  return llama2cVocabulary(new URL("tok512.bin", FOLDER).pathname, 512);
}

/** Log-probabilities of the golden ids of a case, each after the golden ids before it. */
async function goldenLogprobs(
  device: Device,
  modelDir: string,
  { prompt_ids, greedy_ids }: Case,
): Promise<{ logprobs: Float64Array; best: Uint32Array }> {
  const scorer = await Scorer.create(device, { modelDir, kvCacheDtype: "f32" });
  return await scorer.score([...prompt_ids, ...greedy_ids], prompt_ids.length);
}

function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
}

const goldenOf = ({ steps }: Case) => steps.map(({ top5 }) => top5[0]![1]);

async function checkF32(device: Device): Promise<void> {
  await inTempDir(async (dir) => {
    const file = `${dir}/stories.gguf`;
    await Deno.writeFile(file, toGguf(dir, "F32", vocabulary()));
    const tokenizer = loadTokenizer(findModelSource(file).textFiles());
    const engine = await DemoEngine.create(device, { modelDir: file, kvCacheDtype: "f32" });
    const outcomes = await engine.generate(CASES.map(({ prompt, greedy_ids }) => ({
      prompt: [...tokenizer.encode(prompt)],
      params: { ...GREEDY_64, maxTokens: greedy_ids.length },
    })));
    for (const [i, { prompt, prompt_ids, greedy_ids }] of CASES.entries()) {
      assertEquals([...tokenizer.encode(prompt)], prompt_ids, prompt);
      assertEquals(outcomes[i]!.tokens, greedy_ids, prompt);
    }
    for (const golden of cases(CASES, 1)) {
      const { logprobs } = await goldenLogprobs(device, file, golden);
      const difference = maxDifference(logprobs, goldenOf(golden));
      assert(difference < F32_TOLERANCE, `${golden.prompt}: off by ${difference}`);
    }
  });
}

/**
 * Rounding to Q8_0 changes each weight by at most half its group's scale. As much noise of another
 * kind, uniform and drawn anew for each seed, shows what that allows: the log-probabilities may be
 * off by no more than twice the largest difference that any of three such models has, and ids may
 * differ only where the two likeliest are nearer to each other than twice that bound.
 */
async function checkQ8_0(device: Device): Promise<void> {
  await inTempDir(async (dir) => {
    const q8 = `${dir}/q8.gguf`;
    await Deno.writeFile(q8, toGguf(dir, "Q8_0", vocabulary()));
    const rounded = `${dir}/rounded.gguf`;
    await Deno.writeFile(rounded, toGguf(dir, "F32", vocabulary(), roundToQ8_0));
    const golden = CASES[3]!;
    const { logprobs, best } = await goldenLogprobs(device, q8, golden);
    // The same numbers, in another type: nothing but the order of sums differs.
    const same = await goldenLogprobs(device, rounded, golden);
    assert(maxDifference(logprobs, same.logprobs) < F32_TOLERANCE);
    let allowed = 0;
    for (const seed of cases([1, 2, 3], 2)) {
      const noisy = `${dir}/noisy.gguf`;
      await Deno.writeFile(noisy, toGguf(dir, "F32", vocabulary(), withNoise(seed)));
      const { logprobs: other } = await goldenLogprobs(device, noisy, golden);
      allowed = Math.max(allowed, 2 * maxDifference(other, goldenOf(golden)));
    }
    const difference = maxDifference(logprobs, goldenOf(golden));
    assert(difference <= allowed, `off by ${difference}, but noise allows ${allowed}`);
    let numClear = 0;
    for (const [i, { margin }] of golden.steps.entries()) {
      if (margin <= 2 * allowed) continue;
      assertEquals(best[i], golden.greedy_ids[i], `position ${i}`);
      numClear++;
    }
    assert(numClear > golden.steps.length / 2, `only ${numClear} ids are clear of noise`);
  });
}

/** Uniform noise of at most half the scale of each group of Q8_0. */
function withNoise(seed: number): (rows: Float32Array, columns: number) => Float32Array {
  let state = seed * 0x9e3779b9 | 0;
  const random = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  return (rows, columns) =>
    columns % 32 !== 0 ? rows : rows.map((value, i) => {
      const begin = i - i % 32;
      const peak = Math.max(...rows.subarray(begin, begin + 32).map(Math.abs));
      return value + (random() - 0.5) * peak / 127;
    });
}

for (const [name, check] of [["F32", checkF32], ["Q8_0", checkQ8_0]] as const) {
  const what = `a real checkpoint as a GGUF file of ${name} gives its golden ids and probabilities`;
  if (isPresent) gpuTest(`${what} on WebGPU`, check);
  Deno.test({
    name: `${what} on the reference device`,
    ignore: !isPresent,
    fn: () => check(new ReferenceDevice()),
  });
}
