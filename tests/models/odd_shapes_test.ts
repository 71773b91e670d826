import { assert, assertEquals } from "@std/assert";
import { DEFAULT_QUANTIZATIONS, type Quantization } from "../../src/core/weight_format.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { Scorer, type TokenScores } from "../support/perplexity.ts";
import { cases } from "../support/runs.ts";
import { smallTensorsOf } from "../support/small_checkpoint.ts";
import { safetensorsFile } from "../weights/checkpoint_files.ts";

/** Sizes that no published model may have together, and that all of its kernels have to take. */
interface OddShape {
  readonly headDim: number;
  readonly heads: readonly [queries: number, keys: number];
  readonly hidden: number;
  readonly inner: number;
  readonly vocab: number;
  readonly quantization?: Quantization;
}

const { int8, int4 } = DEFAULT_QUANTIZATIONS;

const SHAPES: readonly OddShape[] = [
  { headDim: 24, heads: [3, 1], hidden: 100, inner: 140, vocab: 105, quantization: int4 },
  { headDim: 112, heads: [2, 2], hidden: 72, inner: 96, vocab: 1000, quantization: int8 },
  { headDim: 8, heads: [5, 5], hidden: 40, inner: 52, vocab: 262_144 },
  { headDim: 16, heads: [7, 1], hidden: 36, inner: 44, vocab: 107 },
  { headDim: 80, heads: [4, 2], hidden: 60, inner: 68, vocab: 32_003, quantization: int4 },
  { headDim: 96, heads: [3, 3], hidden: 92, inner: 84, vocab: 512, quantization: int8 },
  { headDim: 256, heads: [2, 1], hidden: 44, inner: 52, vocab: 259 },
];

/** Largest difference of a log-probability, for sums in another order. */
const TOLERANCE = 2e-4;
const NUM_TOKENS = 24;
/** Tokens before those that are compared. */
const NUM_GIVEN = 17;

/** Runs `work` with a folder that holds a model of that shape with random weights. */
async function withModel<T>(shape: OddShape, work: (dir: string) => Promise<T>): Promise<T> {
  const config = {
    ...{ model_type: "llama", rms_norm_eps: 1e-5, rope_theta: 10_000, num_hidden_layers: 2 },
    ...{ hidden_size: shape.hidden, intermediate_size: shape.inner, head_dim: shape.headDim },
    ...{ num_attention_heads: shape.heads[0], num_key_value_heads: shape.heads[1] },
    ...{ vocab_size: shape.vocab, max_position_embeddings: 128, tie_word_embeddings: true },
  };
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/config.json`, JSON.stringify(config));
    await Deno.writeFile(`${dir}/model.safetensors`, safetensorsFile(smallTensorsOf(config)));
    return await work(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Scores the last tokens of a text, the first `numPrompt` of which are a prompt in chunks. */
async function scores(
  device: Device,
  { quantization, vocab }: OddShape,
  modelDir: string,
  numPrompt: number,
): Promise<TokenScores> {
  const scorer = await Scorer.create(device, {
    ...{ modelDir, kvCacheDtype: "f32", numBlocksOverride: 8 },
    ...(quantization === undefined ? {} : { quantization }),
  });
  const tokens = Array.from({ length: NUM_TOKENS }, (_, i) => (i * 7919) % vocab);
  const { logprobs, best } = await scorer.score(tokens, numPrompt);
  const first = NUM_GIVEN - numPrompt;
  return { logprobs: logprobs.slice(first), best: best.slice(first) };
}

function assertSame(seen: TokenScores, expected: TokenScores): void {
  assertEquals(seen.best, expected.best);
  for (const [i, logprob] of expected.logprobs.entries()) {
    const off = Math.abs(seen.logprobs[i]! - logprob);
    assert(off < TOLERANCE, `${i}: ${seen.logprobs[i]} and ${logprob}`);
  }
  // Not the same for every token, as a model that computes nothing has them.
  const [least, most] = [Math.min(...expected.logprobs), Math.max(...expected.logprobs)];
  assert(most - least > 0.1, `log-probabilities from ${least} to ${most}`);
}

function nameOf({ headDim, hidden, vocab, quantization }: OddShape): string {
  const weights = quantization === undefined ? "weights as stored" : quantization.method;
  return `heads of ${headDim}, ${hidden} hidden, ${vocab} tokens, ${weights}`;
}

for (const shape of cases(SHAPES, 4)) {
  Deno.test(`a prompt in chunks gives what its tokens one by one give: ${nameOf(shape)}`, () =>
    withModel(shape, async (dir) => {
      const device = new ReferenceDevice();
      const inChunks = await scores(device, shape, dir, NUM_GIVEN);
      assertSame(inChunks, await scores(device, shape, dir, 1));
    }));
}

// Kernels of attention with heads of 80, 96 and 256 have their own tests; they compile for long.
for (const shape of cases(SHAPES.slice(0, 3), 1)) {
  gpuTest(
    `WebGPU and the reference device agree: ${nameOf(shape)}`,
    (device) =>
      withModel(shape, async (dir) => {
        const defined = await scores(new ReferenceDevice(), shape, dir, NUM_GIVEN);
        assertSame(await scores(device, shape, dir, NUM_GIVEN), defined);
      }),
  );
}
