/**
 * `deno run -A bench/experts.ts [--quick] [--device D] [--write]`: what a layer of experts costs, by how
 * many of them a step uses.
 *
 * Steps of one token, of eight tokens that all go to the same experts, of eight and of 64 that go where
 * they will, beside a dense feed-forward layer as wide as one token's experts, and one as wide as all of
 * them: what a step would cost that computed every expert. The last line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { headerWords, NO_WORK, STEP, type StepDims } from "../kernels/step.ts";
import { TILE_ENTRY_WORDS } from "../kernels/experts/pack_experts.ts";
import { type Tuning, tuningFor } from "../kernels/tuning/tuning.ts";
import type { Sublayer } from "../models/decoder.ts";
import { experts } from "../models/experts.ts";
import { feedForward } from "../models/layers.ts";
import type { Activations, GraphInputs, Model } from "../models/model.ts";
import type { Device } from "../src/device/device.ts";
import type { DeviceBuffer } from "../src/device/kernel.ts";
import { timeCandidates, type TimedCalls } from "../src/runner/call_timing.ts";
import { openDevice } from "../src/runner/open_device.ts";
import { fillBuffer, randomWeights } from "./random_weights.ts";
import { benchOptions, keepResult } from "./results.ts";

/** A quarter of OLMoE's layer: half as wide, with experts of half the width. */
const FULL = { hiddenSize: 1024, intermediateSize: 512, numExperts: 64, topK: 8, runMs: 50 };
const QUICK = { hiddenSize: 32, intermediateSize: 16, numExperts: 8, topK: 2, runMs: 0 };
const LAYER = { layer: 0, rmsNormEps: 1e-5 };

/** Steps by name: their tokens, and whether all of these are the same one. */
const STEPS = [
  { name: "1 token", numTokens: 1, alike: true },
  { name: "8 tokens alike", numTokens: 8, alike: true },
  { name: "8 tokens", numTokens: 8, alike: false },
  { name: "64 tokens", numTokens: 64, alike: false },
] as const;

const MOST_TOKENS = 64;

/** Microseconds of one layer in one step. */
interface Row {
  readonly step: string;
  /** Experts that some token of the step goes to. */
  readonly numUsed: number;
  readonly expertsMicros: number;
  /** Of dense layers as wide as one token's experts, and as wide as all. */
  readonly denseMicros: number;
  readonly allMicros: number;
}

/** One sublayer's weights and memory on the device. */
interface Held {
  readonly sublayer: Sublayer;
  readonly inputs: GraphInputs;
  readonly declared: Readonly<Record<string, DeviceBuffer>>;
}

async function hold(
  device: Device,
  sublayer: Sublayer,
  { tuning, tokens, hiddenSize }: { tuning: Tuning; tokens: number; hiddenSize: number },
): Promise<Held> {
  const { weight } = await randomWeights(device, { weights: sublayer.weights } as Model);
  const declared: Record<string, DeviceBuffer> = {};
  const hidden = { per: "token", words: hiddenSize } as const;
  for (const [name, { words }] of Object.entries({ hidden, ...sublayer.buffers })) {
    declared[name] = await device.createBuffer(name, 4 * words * tokens);
  }
  const step = await device.createBuffer("step", 4 * headerWords(1));
  const activations = { step, codes: step, scales: step, declared } as unknown as Activations;
  return { sublayer, inputs: { weight, activations, numLayers: 1, kv: [], tuning }, declared };
}

/** The calls of a step over a held sublayer, its rows alike or not. */
async function stepOf(
  device: Device,
  { sublayer, inputs, declared }: Held,
  { numTokens, alike }: typeof STEPS[number],
): Promise<TimedCalls<StepDims>> {
  const { step } = inputs.activations;
  const words = new Uint32Array(headerWords(1));
  words[STEP.numTokens] = numTokens;
  const dims = { ...NO_WORK, numTokens };
  const hidden = declared["hidden"]!;
  await fillBuffer(device, hidden, 7);
  const rows = new Uint16Array((await device.read(hidden, 0, hidden.bytes)).buffer);
  const width = Math.floor(hidden.bytes / 4 / MOST_TOKENS);
  const values = Float32Array.from(
    { length: width * numTokens },
    (_, i) => (rows[alike ? i % width : i]! & 1023) / 1024 - 0.5,
  );
  const calls = sublayer.calls(inputs).filter((call) => call.workgroups(dims).every((n) => n > 0));
  const prepare = () => {
    device.write(step, 0, words);
    device.write(hidden, 0, new Uint8Array(values.buffer));
  };
  return { calls, dims, readFrom: hidden, prepare };
}

/** How many experts the step that was run last has used. */
async function numUsed(device: Device, { declared }: Held): Promise<number> {
  const tiles = declared["expert_tiles"]!;
  const words = new Uint32Array((await device.read(tiles, 0, tiles.bytes)).buffer);
  const ids = Array.from({ length: words[0]! }, (_, i) => words[1 + TILE_ENTRY_WORDS * i]!);
  return new Set(ids).size;
}

async function main(): Promise<void> {
  const options = benchOptions("");
  const device = await openDevice(options.device, options.gpuBackend);
  const { runMs, ...shape } = options.quick ? QUICK : FULL;
  const tuning = tuningFor(device.capabilities);
  const { hiddenSize, intermediateSize, numExperts, topK } = shape;
  const dense = (count: number) =>
    feedForward({ ...LAYER, hiddenSize, intermediateSize: count * intermediateSize });
  const sublayers = [
    experts({ ...LAYER, ...shape, normalizes: true }),
    dense(topK),
    dense(numExperts),
  ];
  const held = await Promise.all(
    sublayers.map((sublayer) =>
      hold(device, sublayer, { tuning, tokens: MOST_TOKENS, hiddenSize })
    ),
  );
  console.log(`Device  ${device.description}`);
  console.log(`        ${topK} of ${numExperts} experts, ${hiddenSize} by ${intermediateSize}`);
  const rows: Row[] = [];
  for (const step of STEPS) {
    const timed = await Promise.all(held.map((each) => stepOf(device, each, step)));
    const timing = { runMs, numRounds: options.quick ? 1 : 5 };
    const micros = (await timeCandidates(device, timed, timing)).map((value) => 1e6 * value);
    const [expertsMicros, denseMicros, allMicros] = micros as [number, number, number];
    const used = await numUsed(device, held[0]!);
    const texts = micros.map((value) => value.toFixed(0)).join(" / ");
    console.log(
      `${step.name.padEnd(15)}${String(used).padStart(3)} experts: ${texts} us, ` +
        `${(expertsMicros / allMicros).toFixed(2)} of all experts`,
    );
    rows.push({ step: step.name, numUsed: used, expertsMicros, denseMicros, allMicros });
  }
  await keepResult({ bench: "experts", device: device.description, shape, rows }, options);
  Deno.exit(0);
}

if (import.meta.main) await main();
