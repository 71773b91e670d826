import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { matrixTilesOf } from "../../kernels/matrix_tuning.ts";
import { SOFTWARE_TUNING, type Tuning } from "../../kernels/tuning.ts";
import { findShape, shapeConfig } from "../../bench/shapes.ts";
import { StartupError } from "../../src/core/errors.ts";
import {
  type ActivationSizes,
  activationSizes,
  boundStep,
} from "../../src/runner/activation_sizes.ts";

const SIZES: ActivationSizes = {
  perToken: { hidden: 8, normed: 8, codes: 8, scales: 1, qkv: 24, attended: 8, inner: 32 },
  perSequence: { parts: 64, peaks: 4, last: 8, logits: 100, segments: 12, sampled: 42 },
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
      const words = { inner: Math.max(inner, 24), logits: Math.max(logits, 64) };
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
  const long = { ...SIZES, perSequence: { ...SIZES.perSequence, parts: 1000 } };
  assertThrows(
    () => boundStep(ASKED, long, 3999),
    StartupError,
    '"parts" needs 4000 bytes, and this device binds at most 3999; lower --max-model-len',
  );
});

Deno.test("activationSizes() makes room for Gemma's vocabulary with the default of 64 sequences", () => {
  const model = { ...shapeConfig(findShape("llama-3.2-1b")), vocabSize: 262_144 };
  const sizes = activationSizes(model, { maxSplits: 8, tuning: SOFTWARE_TUNING });
  assertEquals(sizes.perSequence.logits, 262_144);
  const limit = 2 ** 27;
  assertEquals(boundStep({ maxTokens: 512, maxSeqs: 64 }, sizes, limit).notices, []);
  const { maxSeqs } = boundStep({ maxTokens: 512, maxSeqs: 256 }, sizes, limit);
  assertEquals(maxSeqs, 128);
});

Deno.test("activationSizes() has room for the rows of each token as f16 where matrix units take them", () => {
  const model = shapeConfig(findShape("qwen3-0.6b"));
  const sizesWith = (matrixTiles: Tuning["matrixTiles"]) => {
    const tuning = { ...SOFTWARE_TUNING, matrixTiles };
    const { codes, scales } = activationSizes(model, { maxSplits: 1, tuning }).perToken;
    return [codes, scales];
  };
  const unit = { type: "f16", m: 16, n: 16, k: 16, lanes: 32 } as const;
  assertEquals(sizesWith(matrixTilesOf(unit)), [model.intermediateSize / 2, 1]);
  assertEquals(sizesWith(matrixTilesOf({ ...unit, type: "f32" })), [0, 0]);
  assertEquals(sizesWith([]), [0, 0]);
});

Deno.test("activationSizes() grows with the longest context", () => {
  const model = shapeConfig(findShape("qwen3-0.6b"));
  const [short, long] = [1, 293].map((maxSplits) =>
    activationSizes(model, { maxSplits, tuning: SOFTWARE_TUNING }).perSequence
  );
  assertEquals(long!.parts, 293 * short!.parts);
  assertEquals(short!.parts, 16 * 128);
  assert(long!.logits === short!.logits);
});
