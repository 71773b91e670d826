import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { NO_WORK } from "../../kernels/step.ts";
import { matrixTilesOf } from "../../kernels/tuning/matrix_tuning.ts";
import { GPU_TUNING, MAX_GRID, SOFTWARE_TUNING, type Tuning } from "../../kernels/tuning/tuning.ts";
import { findShape, shapeModel } from "../../bench/shapes.ts";
import { StartupError } from "../../src/core/errors.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import {
  type ActivationSizes,
  activationSizes,
  boundStep,
  maxSplits,
} from "../../src/runner/activation_sizes.ts";
import { forwardGraph } from "../../src/runner/build_runner.ts";
import { layerKvs } from "../../src/runner/kv_memory.ts";
import { allocateMemory, bindableSteps } from "../../src/runner/runner_memory.ts";
import { demoInputs } from "../support/demo_engine.ts";

const SIZES: ActivationSizes = {
  perToken: { hidden: 8, normed: 8, codes: 8, scales: 1, qkv: 24, attended: 8, inner: 32 },
  perSequence: { last: 8, logits: 100, segments: 12, sampled: 42 },
  perSplit: { partials: 64, stats: 4 },
};
const ASKED = { maxTokens: 512, maxSeqs: 64 };

Deno.test("boundStep() gives what is asked for where everything can be bound", () => {
  assertEquals(boundStep(ASKED, SIZES, 512 * 32 * 4), { ...ASKED, notices: [] });
});

Deno.test("boundStep() lowers what cannot be bound, and says by which buffer", () => {
  const { notices, ...bound } = boundStep(ASKED, SIZES, 12_808);
  assertEquals(bound, { maxTokens: 100, maxSeqs: 32 });
  assertEquals(notices, [
    'at most 32 sequences per step, not 64: "logits" takes 400 bytes for each, and this device binds ' +
    "at most 12808",
    'at most 100 tokens per step, not 512: "inner" takes 128 bytes for each, and this device binds at ' +
    "most 12808",
  ]);
});

Deno.test("boundStep() allows no more tokens than a grid has workgroups", async () => {
  const { notices, ...bound } = boundStep({ maxTokens: 131_072, maxSeqs: 64 }, SIZES, 2 ** 31);
  assertEquals(bound, { maxTokens: MAX_GRID, maxSeqs: 64 });
  assertEquals(notices, [
    "at most 65535 tokens per step, not 131072: a device runs no more workgroups",
  ]);
  const inputs = await demoInputs(new ReferenceDevice(), {
    ...{ maxNumBatchedTokens: 131_072, numBlocksOverride: 8 },
  });
  const { maxNumBatchedTokens: numTokens } = bindableSteps(inputs).config;
  const { activations, storage } = await allocateMemory({
    ...inputs,
    config: { ...inputs.config, maxNumBatchedTokens: 16 },
  });
  for (const tuning of [SOFTWARE_TUNING, GPU_TUNING]) {
    const kv = layerKvs(inputs.model, inputs.config, storage.buffers);
    for (const { label, workgroups } of forwardGraph(inputs, { activations, kv }, tuning)) {
      const counts = workgroups({ ...NO_WORK, numTokens });
      assert(counts.every((count) => count <= MAX_GRID), `${label} has ${counts}`);
    }
  }
});

Deno.test("boundStep() leaves every sequence its token", () => {
  const wide = { ...SIZES, perToken: { ...SIZES.perToken, inner: 400 } };
  const { maxTokens, maxSeqs } = boundStep(ASKED, wide, 12_800);
  assertEquals([maxTokens, maxSeqs], [8, 8]);
});

Deno.test("boundStep() never exceeds the limit, nor lowers more than it must", () => {
  const count = fc.integer({ min: 1, max: 5000 });
  fc.assert(
    fc.property(count, count, fc.integer({ min: 6000, max: 1e6 }), (inner, logits, maxBytes) => {
      const sizes = {
        perToken: { ...SIZES.perToken, inner },
        perSequence: { ...SIZES.perSequence, logits },
      };
      const words = { inner: Math.max(inner, 24), logits: Math.max(logits, 42) };
      const usable = Math.floor(maxBytes / 16) * 16;
      const most = (words: number, asked: number) =>
        Math.min(asked, Math.floor(usable / (4 * words)));
      fc.pre(4 * Math.max(inner, logits) <= usable);
      const { maxTokens, maxSeqs } = boundStep(ASKED, sizes, maxBytes);
      assertEquals(maxTokens, most(words.inner, 512));
      assertEquals(maxSeqs, Math.min(maxTokens, most(words.logits, 64)));
    }),
    { seed: 5, numRuns: 500 },
  );
});

Deno.test("boundStep() refuses a device that cannot bind one token or one sequence", () => {
  assertThrows(
    () => boundStep(ASKED, SIZES, 127),
    StartupError,
    'The activations of one of the tokens of a step do not fit: "inner" needs 128 bytes, and this ' +
      "device binds at most 127",
  );
  const wide = { ...SIZES, perSequence: { ...SIZES.perSequence, logits: 1000 } };
  assertThrows(
    () => boundStep(ASKED, wide, 3999),
    StartupError,
    '"logits" needs 4000 bytes, and this device binds at most 3999',
  );
});

Deno.test("activationSizes() makes room for Gemma's vocabulary with the default of 64 sequences", () => {
  const shape = findShape("llama-3.2-1b");
  const model = shapeModel({ ...shape, config: { ...shape.config, vocab_size: 262_144 } });
  const sizes = activationSizes(model, SOFTWARE_TUNING);
  assertEquals(sizes.perSequence.logits, 262_144);
  const limit = 2 ** 27;
  assertEquals(boundStep({ maxTokens: 512, maxSeqs: 64 }, sizes, limit).notices, []);
  const { maxSeqs } = boundStep({ maxTokens: 512, maxSeqs: 256 }, sizes, limit);
  assertEquals(maxSeqs, 128);
});

Deno.test("activationSizes() has room for the rows of each token as f16 where matrix units take them", () => {
  const model = shapeModel(findShape("qwen3-0.6b"));
  const sizesWith = (matrixTiles: Tuning["matrixTiles"]) => {
    const tuning = { ...SOFTWARE_TUNING, matrixTiles };
    const { codes, scales } = activationSizes(model, tuning).perToken;
    return [codes, scales];
  };
  const unit = { type: "f16", m: 16, n: 16, k: 16, lanes: 32 } as const;
  assertEquals(sizesWith(matrixTilesOf(unit)), [model.buffers.inner!.words / 2, 1]);
  assertEquals(sizesWith(matrixTilesOf({ ...unit, type: "f32" })), [0, 0]);
  assertEquals(sizesWith([]), [0, 0]);
});

const MIB = 2 ** 20;
const LONG = { maxSeqs: 64, splitLen: 64 };

Deno.test("maxSplits() has room for all splits there can be where these are few", () => {
  assertEquals(maxSplits({ maxSeqs: 3, maxModelLen: 65, splitLen: 32 }, SIZES, 128 * MIB), 9);
});

Deno.test("maxSplits() sets no more aside for Llama-3.1-8B at 128k and 64 sequences than at 16k", () => {
  const sizes = activationSizes(shapeModel(findShape("llama-3.1-8b")), GPU_TUNING);
  assertEquals(sizes.perSplit, { partials: 32 * 128, stats: 32 * 2 });
  for (const maxModelLen of [16_384, 131_072]) {
    for (const bindable of [128 * MIB, 2048 * MIB]) {
      const count = maxSplits({ ...LONG, maxModelLen }, sizes, bindable);
      assertEquals([count, 4 * count * sizes.perSplit.partials], [8192, 128 * MIB]);
      const step = { maxTokens: 512, maxSeqs: LONG.maxSeqs };
      assertEquals(boundStep(step, sizes, bindable), { ...step, notices: [] });
    }
  }
});

Deno.test("maxSplits() always has room for one sequence of the greatest length", () => {
  const sizes = activationSizes(shapeModel(findShape("llama-3.1-8b")), SOFTWARE_TUNING);
  const long = { maxSeqs: 64, maxModelLen: 1 << 20, splitLen: 32 };
  assertEquals(maxSplits(long, sizes, 2048 * MIB), 32_768);
  assertThrows(
    () => maxSplits(long, sizes, 128 * MIB),
    StartupError,
    'Attention of one sequence of 1048576 tokens does not fit: "partials" needs 536870912 bytes, and ' +
      "this device binds at most 134217728 of it; lower --max-model-len",
  );
});

Deno.test("maxSplits() stays within one axis of workgroups", () => {
  const sizes = { perSplit: { partials: 4, stats: 2 } };
  assertEquals(
    maxSplits({ maxSeqs: 64, maxModelLen: 65_536, splitLen: 32 }, sizes, 2048 * MIB),
    65_535,
  );
});

Deno.test("maxSplits() needs no more under a tuning with longer splits", () => {
  const { perSplit } = activationSizes(shapeModel(findShape("qwen3-0.6b")), GPU_TUNING);
  for (const maxModelLen of [1, 100, 40_960]) {
    const counts = [64, 128, 256].map((splitLen) =>
      maxSplits({ maxSeqs: 64, maxModelLen, splitLen }, { perSplit }, 128 * MIB)
    );
    assertEquals(counts, counts.toSorted((a, b) => b - a));
  }
});
