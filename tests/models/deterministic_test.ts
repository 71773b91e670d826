/**
 * The same answer in any batch, to the bit: with `isDeterministic`, a sequence's logits are the same words whatever happens
 * around it. Each test runs the same sequences, greedy and seeded, in one way or another, and compares
 * every row of logits, read back from the device, with that of each sequence alone, whole and uncached.
 */
import { assert, assertEquals } from "@std/assert";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { TokenId } from "../../src/core/ids.ts";
import type { Capabilities } from "../../src/device/capabilities.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { actingAs } from "../support/acting_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { type Arrival, DemoEngine, goldenPrompts, GREEDY_64 } from "../support/demo_engine.ts";
import {
  assertSameBits,
  differingDraws,
  drawsOf,
  LogitRecorder,
} from "../support/logit_recorder.ts";

const VOCAB_SIZE = 2048;

const PROMPTS = goldenPrompts().map(({ prompt_ids }) => prompt_ids)
  .sort((a, b) => a.length - b.length);
/** Sixteen prompts of 4 to 449 tokens. */
const SIXTEEN = [...PROMPTS.slice(0, 14), ...PROMPTS.slice(-5, -4), ...PROMPTS.slice(-2, -1)];

/** Sequence `i` of those compared: every other one is drawn from, and they end at different times. */
function sequence(prompt: readonly TokenId[], i: number): Arrival {
  const temperature = i % 2;
  return {
    prompt,
    params: { ...GREEDY_64, seed: 1 + i, temperature, maxTokens: 12 + 8 * (i % 4) },
  };
}

/** One way to run sequences. */
interface Run {
  readonly config?: Partial<EngineConfig>;
  readonly arrivals: readonly Arrival[];
  readonly beforeStep?: (engine: DemoEngine, step: number) => Promise<void>;
}

/** The logits and tokens of the sequences with the seeds given, or of all. */
async function run(
  device: Device,
  { config = {}, arrivals, beforeStep }: Run,
  seeds = new Set(arrivals.map(({ params }) => params!.seed)),
) {
  const recorder = new LogitRecorder(device, VOCAB_SIZE);
  const engine = await DemoEngine.create(recorder.device, { isDeterministic: true, ...config });
  const outcomes = await engine.generate(
    arrivals,
    (step) => beforeStep?.(engine, step) ?? Promise.resolve(),
    (batch) => recorder.record(batch),
  );
  return {
    logits: drawsOf(recorder.draws, seeds),
    tokens: new Map(
      outcomes.map(({ tokens }, i) => [arrivals[i]!.params!.seed, tokens] as const)
        .filter(([seed]) => seeds.has(seed)).sort(([a], [b]) => a - b),
    ),
    stats: engine.stats,
  };
}

type Ran = Awaited<ReturnType<typeof run>>;

/** Each sequence alone, its prompt in one chunk, nothing cached. */
function alone(device: Device, arrivals: readonly Arrival[], config: Partial<EngineConfig> = {}) {
  return run(device, { config: { ...config, maxNumSeqs: 1, maxNumBatchedTokens: 512 }, arrivals });
}

/** Makes a run of some sequences; `check` fails where it did not come to what the way is about. */
type Way = (arrivals: readonly Arrival[]) => Run & { readonly check?: (ran: Ran) => void };

/** Later ones first, a new one every other step, and others that come and go between them. */
const joining: Way = (arrivals) => ({
  config: { maxNumSeqs: 16 },
  arrivals: [
    ...arrivals.map((arrival, i) => ({ ...arrival, atStep: 2 * (arrivals.length - i) })),
    ...arrivals.map(({ prompt }, i) => ({
      prompt: prompt.slice(0, 1 + 3 * i),
      params: { ...GREEDY_64, seed: 100 + i, temperature: 1, maxTokens: 1 + i },
      atStep: 3 * i,
      ...(i % 3 === 0 ? { abortAfter: 1 + i / 3 } : {}),
    })),
  ],
});

/** Prompts of which one block, several or all but the last token have been computed before. */
const cached: Way = (arrivals) => ({
  config: { enablePrefixCaching: true },
  arrivals: [
    ...arrivals.map(({ prompt }, i) => ({
      prompt: prompt.slice(0, [17, 40, 150, Infinity][i % 4]),
      params: { ...GREEDY_64, seed: 100 + i, maxTokens: 20 },
    })),
    ...arrivals.map((arrival) => ({ ...arrival, atStep: 60 })),
  ],
  check: ({ stats }) => assert(stats.numHitTokens > 100, `${stats.numHitTokens} tokens were found`),
});

/**
 * Some room beside the longest of the shorter sequences, in blocks so small that they soon want more: those
 * that came last have to make room, and are far enough by then for several splits.
 */
const preempted: Way = (arrivals) => {
  const shorter = arrivals.filter(({ prompt }) => prompt.length < 100);
  const lengths = shorter.map(({ prompt, params }) => prompt.length + params!.maxTokens);
  return {
    config: { blockSize: 4, numBlocksOverride: Math.ceil(Math.max(...lengths) / 4) + 10 },
    arrivals: shorter,
    check: ({ stats }) => assert(stats.numPreemptions > 0, "nothing was preempted"),
  };
};

const chunked = (maxNumBatchedTokens: number): Way => (arrivals) => ({
  config: { maxNumBatchedTokens, maxNumSeqs: Math.min(16, maxNumBatchedTokens) },
  arrivals,
});

const inBlocksOf = (blockSize: number): Way => (arrivals) => ({
  config: { blockSize, numBlocksOverride: 8192 / blockSize },
  arrivals,
});

/** A pool that shrinks, so that blocks move, and grows. */
const resized: Way = (arrivals) => ({
  config: { numBlocksOverride: 400 },
  arrivals,
  beforeStep: async (engine, step) => {
    if (step === 6) await engine.resizeKv(150);
    if (step === 12) await engine.resizeKv(300);
  },
});

/** All of it together. */
const everything: Way = (arrivals) => {
  const { config, arrivals: shorter } = preempted(arrivals);
  return {
    config: { ...config, maxNumBatchedTokens: 37, maxNumSeqs: 16, enablePrefixCaching: true },
    arrivals: joining(shorter).arrivals,
    check: ({ stats }) =>
      assert(stats.numPreemptions > 0 && stats.numHitTokens > 0, JSON.stringify(stats)),
    beforeStep: async (engine, step) => {
      if (step === 30) await engine.resizeKv(2 * config!.numBlocksOverride!);
    },
  };
};

const WAYS: Readonly<Record<string, Way>> = {
  "in a batch of 16 that others join and leave": joining,
  "with prefill chunks of 16": chunked(16),
  "with prefill chunks of 37": chunked(37),
  "with prefill chunks of 512": chunked(512),
  "in blocks of 8": inBlocksOf(8),
  "in blocks of 32": inBlocksOf(32),
  "found in the prefix cache": cached,
  "preempted and recomputed": preempted,
  "while the pool is resized": resized,
};

/** Runs sequences one way and compares them with `expected`. */
async function compare(
  device: Device,
  { way, arrivals, among = arrivals, expected, config = {} }: {
    way: Way;
    /** The sequences to compare, and all that are run that way. */
    arrivals: readonly Arrival[];
    among?: readonly Arrival[];
    expected: Ran;
    config?: Partial<EngineConfig>;
  },
): Promise<void> {
  const { check, ...how } = way(among);
  const seedsOf = (some: readonly Arrival[]) => new Set(some.map(({ params }) => params!.seed));
  const seeds = seedsOf(how.arrivals).intersection(seedsOf(arrivals));
  const actual = await run(device, { ...how, config: { ...how.config, ...config } }, seeds);
  check?.(actual);
  assertSameBits(actual.logits, drawsOf(expected.logits, seeds));
  assertEquals(actual.tokens, new Map([...expected.tokens].filter(([seed]) => seeds.has(seed))));
}

/** Shapes of GPUs, in which a software adapter can run as well. */
const BASELINE: Partial<Capabilities> = { tier: "baseline", hasSubgroups: false };
const SUBGROUPS: Partial<Capabilities> = { tier: "subgroups" };

const ALL = SIXTEEN.map(sequence);
/** Some of them, for slow devices: of 16, 27, 62 and 242 tokens, every other one greedy. */
const SOME = [5, 10, 13, 14].map((i) => ALL[i]!);

/** The ways that a device acting as another is put through, and with which sequences. */
function compareAll(
  name: string,
  capabilities: Partial<Capabilities>,
  { arrivals, ways }: {
    readonly arrivals: readonly Arrival[];
    readonly ways: Readonly<Record<string, Way>>;
  },
) {
  let expected: Promise<Ran> | undefined;
  for (const [words, way] of Object.entries(ways)) {
    gpuTest(`logits have the same bits ${words}: ${name} shapes`, async (gpu) => {
      const device = actingAs(gpu, capabilities);
      expected ??= alone(device, arrivals);
      const among = way === joining ? ALL : arrivals;
      await compare(device, { way, arrivals, among, expected: await expected });
    });
  }
}

compareAll("software", {}, { arrivals: ALL, ways: WAYS });
// Barriers are slow on a software adapter. Those that are preempted have blocks of 4.
const { "in blocks of 8": _, ...slowWays } = WAYS;
compareAll("baseline", BASELINE, { arrivals: SOME, ways: slowWays });

/** Everything at once against each sequence alone, in blocks of the same size: other sizes are compared above. */
async function compareEverything(
  device: Device,
  config: Partial<EngineConfig> = {},
): Promise<void> {
  const blocks = { blockSize: 4, numBlocksOverride: 2048 };
  const expected = await alone(device, SOME, { ...config, ...blocks });
  await compare(device, { way: everything, arrivals: SOME, expected, config });
}

gpuTest(
  "logits have the same bits in all of that: subgroup shapes",
  (gpu) => compareEverything(actingAs(gpu, SUBGROUPS)),
);

for (const kvCacheDtype of ["f32", "int8", "fp8", "int4"] as const) {
  gpuTest(
    `logits have the same bits with KV in ${kvCacheDtype}: software shapes`,
    (gpu) => compareEverything(gpu, { kvCacheDtype }),
  );
}

// Codes and f16 in one model; `deterministic_attention_test.ts` has the others in these shapes.
gpuTest(
  "logits have the same bits with KV in int4: baseline shapes",
  (gpu) => compareEverything(actingAs(gpu, BASELINE), { kvCacheDtype: "int4" }),
);

// `matmul_test.ts` and `w8a8_product_test.ts` have both in the shapes of GPUs.
for (const int8Activations of ["off", "on"] as const) {
  const words = int8Activations === "on" ? "and int8 activations" : "alone";
  gpuTest(
    `logits have the same bits with quantized weights ${words}: software shapes`,
    (gpu) =>
      compareEverything(gpu, { quantization: { method: "int4", groupSize: 32 }, int8Activations }),
  );
}

Deno.test("logits have the same bits on the reference device", () =>
  compareEverything(new ReferenceDevice()));

gpuTest(
  "logits have other bits in other chunks without the flag: baseline shapes",
  async (gpu) => {
    const device = actingAs(gpu, BASELINE);
    const config = { isDeterministic: false };
    // Its prompt is one chunk of 242, which gemm multiplies, and then chunks of 6, which matmul does.
    const one = SOME.slice(3);
    const expected = await alone(device, one, config);
    const how = chunked(6)(one);
    const actual = await run(device, { ...how, config: { ...how.config, ...config } });
    assert(differingDraws(actual.logits, expected.logits).length > 0, "all bits are the same");
  },
);
