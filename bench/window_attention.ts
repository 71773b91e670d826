/**
 * `deno run -A bench/window_attention.ts [--quick] [--device D] [--write]`: what attention to a window
 * costs in a long context.
 *
 * One layer's attention of a decode and of a chunk, in turns: to a context as long as the window, to a
 * window in a context eight times as long, and to all of that. The second should cost what the first
 * does. The last line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { attentionQueryTile, pagedAttentionCalls } from "../kernels/attention/paged_attention.ts";
import type { AttentionLayer } from "../kernels/kv/attention_layer.ts";
import { kvPlace, spanOf } from "../kernels/kv/kv_cache.ts";
import type { StepDims } from "../kernels/step.ts";
import { type Tuning, tuningFor } from "../kernels/tuning/tuning.ts";
import type { Device } from "../src/device/device.ts";
import { timeCandidates, type TimedCalls } from "../src/runner/call_timing.ts";
import { openDevice } from "../src/runner/open_device.ts";
import { maxStepWords, StepPacker } from "../src/runner/step_packer.ts";
import { benchOptions, keepResult } from "./results.ts";

const BLOCK_SIZE = 16;
/** A quarter of Mistral 7B's heads. */
const HEADS = { H: 8, G: 2, D: 128, BLOCK_SIZE, KV_DTYPE: "f16" } as const;
const FULL = { window: 4096, context: 32_768, chunk: 32, runMs: 50, numRounds: 5 };
const QUICK = { window: 64, context: 512, chunk: 8, runMs: 0, numRounds: 1 };

/** Microseconds of one layer's attention. */
interface Times {
  readonly step: "decode" | "chunk";
  /** To all of a context as long as the window. */
  readonly shortMicros: number;
  /** To a window of a long context. */
  readonly windowMicros: number;
  /** To all of it. */
  readonly longMicros: number;
  /** How many times as long a window takes as a context of its length, and as the whole one. */
  readonly toShort: number;
  readonly toLong: number;
}

/** The attention of the last `count` tokens of a context, over memory of its own. */
async function attention(
  device: Device,
  layer: AttentionLayer,
  { context, count, tuning }: { context: number; count: number; tuning: Tuning },
): Promise<TimedCalls<StepDims>> {
  const numBlocks = Math.ceil(context / BLOCK_SIZE);
  const limits = {
    ...{ maxTokens: count, maxSeqs: 1, maxBlocksPerSeq: numBlocks, blockSize: BLOCK_SIZE },
    ...{ queryTile: attentionQueryTile(layer, tuning), splitLen: tuning.splitLen },
    maxSplits: Math.ceil(context / tuning.splitLen),
    spans: [spanOf(layer)],
  };
  const chunk = { sequenceId: 0, tokens: new Uint32Array(count), start: context - count };
  // Blocks lie scattered, as they do after some time of serving.
  const table = Array.from({ length: numBlocks }, (_, i) => i * 7919 % numBlocks);
  const batch = { step: 0, chunks: [{ ...chunk, blockTables: [table] }], numTokens: count };
  const { words, dims } = new StepPacker(limits).pack(batch);
  const floats = (label: string, length: number) => device.createBuffer(label, 4 * length);
  const { H, G, D } = layer;
  const step = await floats("step", maxStepWords(limits));
  device.write(step, 0, words);
  const buffers = {
    step,
    qkv: await floats("qkv", count * (H + 2 * G) * D),
    kv: await floats("kv", numBlocks * kvPlace(layer).STRIDE),
    partials: await floats("partials", limits.maxSplits * H * D),
    stats: await floats("stats", limits.maxSplits * H * 2),
    out: await floats("out", count * H * D),
  };
  const calls = pagedAttentionCalls(layer, buffers, tuning)
    .filter((call) => call.workgroups(dims).every((groups) => groups > 0));
  return { calls, dims, readFrom: buffers.out };
}

async function measure(
  device: Device,
  step: Times["step"],
  { window, context, chunk, ...timing }: typeof FULL,
): Promise<Times> {
  const count = step === "decode" ? 1 : chunk;
  const tuning = tuningFor(device.capabilities);
  const of = (layer: AttentionLayer, tokens: number) =>
    attention(device, layer, { context: tokens, count, tuning });
  const seconds = await timeCandidates(device, [
    await of(HEADS, window),
    await of({ ...HEADS, WINDOW: window }, context),
    await of(HEADS, context),
  ], timing);
  const [shortMicros, windowMicros, longMicros] = seconds.map((value) => 1e6 * value) as [
    ...[number, number, number],
  ];
  const ratios = { toShort: windowMicros / shortMicros, toLong: windowMicros / longMicros };
  return { step, shortMicros, windowMicros, longMicros, ...ratios };
}

async function main(): Promise<void> {
  const options = benchOptions("");
  const device = await openDevice(options.device, options.gpuBackend);
  const sizes = options.quick ? QUICK : FULL;
  const { window, context, chunk } = sizes;
  console.log(`Device  ${device.description}`);
  console.log(
    `        all of ${window} tokens, a window of ${window} in ${context}, all of ${context}`,
  );
  const rows: Times[] = [];
  for (const step of ["decode", "chunk"] as const) {
    const times = await measure(device, step, sizes);
    const { shortMicros, windowMicros, longMicros, toShort } = times;
    const micros = [shortMicros, windowMicros, longMicros].map((value) => value.toFixed(0));
    const name = step === "decode" ? step : `chunk of ${chunk}`;
    console.log(
      `${name.padEnd(14)}${micros.join(" / ")} us, ${toShort.toFixed(2)} of the short one`,
    );
    rows.push(times);
  }
  const shape = { ...HEADS, ...sizes };
  await keepResult({ bench: "window_attention", device: device.description, shape, rows }, options);
  Deno.exit(0);
}

if (import.meta.main) await main();
