/**
 * Every family against an implementation of its published formulas in PyTorch
 * (`tests/golden/families.py`): all logits of a prompt on both devices, and greedy tokens in every
 * way to run a sequence (the same answer in any batch), with KV in f32.
 */
import { assert, assertEquals } from "@std/assert";
import { parseModel } from "../../models/registry.ts";
import { maxLiveBlocks } from "../../src/core/cache_group.ts";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { Device } from "../../src/device/device.ts";
import { numSlabsFor } from "../../src/core/kv_buffers.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { kvMemory } from "../../src/runner/kv_memory.ts";
import { gpuTest, worstError } from "../support/agreement.ts";
import { type Arrival, DemoEngine, GREEDY_64 } from "../support/demo_engine.ts";
import {
  decodedLogits,
  expectedLogits,
  type FamilyGolden,
  familyGoldens,
  prefilledLogits,
  withFamily,
} from "../support/family_golden.ts";

/** Most that a logit may be off: sums in f32 in any order, through up to seven layers. */
const LOGIT_ERROR = 2e-3;

const GOLDENS = familyGoldens();

function checkLogits(name: string, actual: readonly Float32Array[], golden: FamilyGolden): void {
  const expected = expectedLogits(golden);
  assertEquals(actual.length, expected.length);
  for (const [position, row] of actual.entries()) {
    assertEquals(row.length, expected[position]!.length);
    const error = worstError(row, expected[position]!);
    assert(error < LOGIT_ERROR, `${name}: logits after position ${position} are off by ${error}`);
  }
}

/** A sequence with the tokens that it must give. */
interface Expected extends Arrival {
  readonly tokens: readonly number[];
}

function expectedFrom({ prompt, tokens }: FamilyGolden, numGiven: number, atStep = 0): Expected {
  const left = tokens.slice(numGiven);
  return {
    prompt: [...prompt, ...tokens.slice(0, numGiven)],
    tokens: left,
    params: { ...GREEDY_64, maxTokens: left.length },
    atStep,
  };
}

/** Runs sequences to their ends and compares their tokens. */
async function checkTokens(engine: DemoEngine, sequences: readonly Expected[]): Promise<void> {
  const outcomes = await engine.generate(sequences);
  outcomes.forEach(({ tokens }, i) => assertEquals(tokens, sequences[i]!.tokens, `sequence ${i}`));
}

/** One way to run a case's sequences. */
type Way = (create: Create, golden: FamilyGolden) => Promise<void>;
type Create = (config: Partial<EngineConfig>) => Promise<DemoEngine>;

/** Alone, its prompt whole, and nothing cached. */
const alone: Way = async (create, golden) => {
  const engine = await create({ enablePrefixCaching: false, maxNumSeqs: 1 });
  await checkTokens(engine, [expectedFrom(golden, 0)]);
  assertEquals(engine.stats.numHitTokens, 0);
};

/** Three at once, which share a prompt that is computed in chunks and found. */
const chunked = (maxNumBatchedTokens: number, blockSize: number): Way => async (create, golden) => {
  const engine = await create({
    maxNumBatchedTokens,
    maxNumSeqs: Math.min(16, maxNumBatchedTokens),
    blockSize,
    numBlocksOverride: 2048 / blockSize,
  });
  await checkTokens(engine, [0, 16, 9].map((numGiven) => expectedFrom(golden, numGiven)));
};

/** Positions per block, and tokens of a step, where a sequence is preempted. */
const TIGHT = { blockSize: 8, maxNumBatchedTokens: 16 };

/**
 * The last of eight sequences, which share nothing, in a pool that has not room for all of them: it
 * is the one that gives its blocks back. Sequences of windows alone hardly grow, and only want more at
 * times than they were admitted with; so the room beside the longest one shrinks until some do.
 */
const preempted: Way = async (create, golden) => {
  const last = expectedFrom(golden, 0);
  const others = Array.from({ length: 7 }, (_, i): Arrival => ({
    prompt: golden.prompt.slice(50 + 7 * i, 90 + 10 * i),
    params: { ...GREEDY_64, maxTokens: 32 },
  }));
  const longest = slabsOf(golden, last.prompt.length + last.tokens.length);
  for (const room of [12, 8, 4, 2, 0]) {
    const engine = await create({ ...TIGHT, numBlocksOverride: longest + room });
    const outcomes = await engine.generate([...others, last]);
    assertEquals(outcomes.at(-1)!.tokens, last.tokens);
    if (engine.stats.numPreemptions > 0) return;
  }
  throw new Error("nothing was preempted");
};

/** Slabs that a sequence of so many tokens holds at most. */
function slabsOf({ config }: FamilyGolden, numTokens: number): number {
  const { blockSize, maxNumBatchedTokens: maxInFlightTokens } = TIGHT;
  const { groups, layout } = kvMemory(parseModel(config), { blockSize, kvCacheDtype: "f32" });
  const grain = { blockSize, maxInFlightTokens };
  return numSlabsFor(layout, groups.map((group) => maxLiveBlocks(group, numTokens, grain)));
}

/** Again when all is over, with more and more of the answer in the prompt: a window's tail is hit. */
const found: Way = async (create, golden) => {
  const engine = await create({});
  let numHitTokens = 0;
  for (const numGiven of [0, 0, 16, 31, 8]) {
    await checkTokens(engine, [expectedFrom(golden, numGiven)]);
    const numFound = engine.stats.numHitTokens - numHitTokens;
    numHitTokens += numFound;
    const least = engine.stats.numHitTokens === 0 ? 0 : golden.prompt.length / 2;
    assert(numFound >= least, `${numFound} tokens were found`);
  }
  assert(numHitTokens > 0, "nothing was found");
};

const WAYS: Readonly<Record<string, Way>> = {
  "alone": alone,
  "in chunks of 7, in blocks of 8": chunked(7, 8),
  "in chunks of 16, in blocks of 32": chunked(16, 32),
  "in chunks of 64, in blocks of 16": chunked(64, 16),
  "preempted": preempted,
  "found in the prefix cache": found,
};

/**
 * Cases and ways that run on both devices: layers with windows, alone and beside others, and KV of
 * short and of long contexts.
 */
const ON_WEBGPU = [
  "mistral, preempted",
  "mistral, found in the prefix cache",
  "gemma3_text, in chunks of 16, in blocks of 32",
  "gemma3_text, preempted",
  "gemma3_text, found in the prefix cache",
  "phi3 growing beyond its original context, found in the prefix cache",
];

function checkWay(device: Device, golden: FamilyGolden, way: Way): Promise<void> {
  return withFamily(golden, async (modelDir) => {
    const own = { modelDir, kvCacheDtype: "f32", enablePrefixCaching: true } as const;
    await way((config) => DemoEngine.create(device, { ...own, ...config }), golden);
  });
}

async function checkGolden(device: Device, golden: FamilyGolden): Promise<void> {
  await withFamily(golden, async (modelDir) => {
    checkLogits("decodes", await decodedLogits(device, modelDir, golden), golden);
    checkLogits("prefills", await prefilledLogits(device, modelDir, golden), golden);
  });
}

for (const golden of GOLDENS) {
  const { name } = golden;
  gpuTest(`${name}: the logits of its formulas on WebGPU`, (gpu) => checkGolden(gpu, golden));
  Deno.test(`${name}: the logits of its formulas on the reference device`, () =>
    checkGolden(new ReferenceDevice(), golden));
  for (const [label, way] of Object.entries(WAYS)) {
    Deno.test(`${name}: the greedy tokens of its formulas ${label}`, () =>
      checkWay(new ReferenceDevice(), golden, way));
    if (!ON_WEBGPU.includes(`${name}, ${label}`)) continue;
    gpuTest(
      `${name}: the greedy tokens of its formulas ${label} on WebGPU`,
      (gpu) => checkWay(gpu, golden, way),
    );
  }
}
