import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import type { StepDims } from "../../kernels/step.ts";
import { tilesOf } from "../../kernels/tuning/product_tiles.ts";
import { type Tuning, tuningFor } from "../../kernels/tuning/tuning.ts";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import { KernelError } from "../../src/core/errors.ts";
import type { KernelCall } from "../../src/device/kernel.ts";
import { allocateMemory } from "../../src/runner/runner_memory.ts";
import { fastest, tuneKernels, type TuneOptions } from "../../src/runner/tune_kernels.ts";
import { logLines } from "../support/log_lines.ts";
import { TimedDevice, type TimedDeviceOptions, timedInputs } from "../support/timed_device.ts";

type Call = KernelCall<StepDims>;

async function tune(
  options: TimedDeviceOptions,
  overrides: Partial<TuneOptions> = {},
  config: Partial<EngineConfig> = {},
) {
  const device = new TimedDevice(options);
  const inputs = timedInputs(device, config);
  const { log, lines } = logLines();
  const result = await tuneKernels({
    inputs,
    memory: await allocateMemory(inputs),
    log,
    now: () => device.clock.now(),
    known: [],
    limitMs: Infinity,
    ...overrides,
  });
  return { ...result, device, lines, usual: tuningFor(device.capabilities) };
}

/** Every call takes 10 ms, those that `isFast` says less. */
const costs = (isFast: (call: Call) => boolean, fast = 2) => ({
  cost: (call: Call) => isFast(call) ? fast : 10,
});

Deno.test("tuneKernels() keeps the device's tuning where no variant is faster", async () => {
  // Norms that are not fused are a call more, so that every variant of these is slower.
  const { tuning, usual, operations, timed, numLeft } = await tune({});
  assertEquals(tuning, usual);
  assertEquals(operations, timed);
  assert(operations.every(({ variant }) => variant === "default"));
  assertEquals(numLeft, 0);
});

Deno.test("tuneKernels() gives a product the tile that was fastest for its rows, and no other", async () => {
  const isFast = ({ label, kernelName, constants }: Call) =>
    label === "down" && kernelName === "gemm" && constants.ROWS === 128 &&
    constants.COLUMNS === 128;
  const { tuning, usual, operations } = await tune(costs(isFast));
  assertEquals(Object.keys(tuning.productTiles!), ["down"]);
  const prompts = tilesOf(tuning, "down").gemmTiles.filter(({ maxRows }) => maxRows > 64);
  assertEquals(prompts.map(({ minRows, rows, columns }) => [minRows, rows, columns]), [
    [65, 128, 128],
  ]);
  assertEquals(tilesOf(tuning, "down").matmulTiles, tilesOf(usual, "down").matmulTiles);
  const [record] = operations.filter(({ variant }) => variant !== "default");
  assertEquals(record!.operation, "down 192x512 f16, 65 rows or more");
  assertStringIncludes(record!.variant, "gemm 128x128");
  assertEquals(record!.micros[record!.variant], 2000);
  assertEquals(record!.micros.default, 10_000);
});

Deno.test("tuneKernels() gives a product of int8 activations a tile for these, where they are on", async () => {
  const quantization = { method: "int8", groupSize: 32 } as const;
  const cost = costs(({ label, kernelName, constants }) =>
    label === "down" && kernelName === "w8a8_gemm" && constants.COLUMNS === 64 &&
    constants.ROWS === 64
  );
  const on = await tune(cost, {}, { quantization, int8Activations: "on" });
  const { productTiles, ...rest } = on.tuning.w8a8;
  assertEquals({ ...on.tuning, w8a8: rest }, { ...on.usual, usesW8a8: true });
  assertEquals(Object.keys(productTiles!), ["down"]);
  const { tiles, gemmTiles } = productTiles!.down!;
  assertEquals(tiles, on.usual.w8a8.tiles);
  assertEquals(gemmTiles.map(({ minRows, columns }) => [minRows, columns]), [[9, 32], [17, 32], [
    65,
    64,
  ]]);
  const [record] = on.operations.filter(({ variant }) => variant !== "default");
  assertEquals(record!.operation, "down 192x512 int8g32 by int8, 65 rows or more");
  // 2 ms, and the codes of its rows in 10.
  assertEquals([record!.micros[record!.variant], record!.micros.default], [12_000, 20_000]);

  const off = await tune(cost, {}, { quantization });
  assertEquals(off.tuning, off.usual);
  assert(off.operations.every(({ operation }) => !operation.includes("by int8")));
});

Deno.test("tuneKernels() chooses for attention and sampling by all of their steps", async () => {
  // Splits of 128 are the fastest for eight sequences, and the slowest for one.
  const cost = ({ kernelName, constants }: Call, { numDecodes }: StepDims) => {
    if (kernelName.startsWith("paged_attention_decode")) {
      if (constants.SPLIT_LEN === 128) return numDecodes === 1 ? 30 : 5;
      if (constants.SPLIT_LEN === 256) return 8;
    }
    return kernelName === "sample_tokens" && constants.LANES === 64 ? 5 : 10;
  };
  const { tuning, usual } = await tune({ cost });
  assertEquals(tuning, { ...usual, splitLen: 256, sampleLanes: 64 });
});

Deno.test("tuneKernels() counts the norm among what a product takes", async () => {
  const isFast = ({ kernelName, constants }: Call) =>
    kernelName === "matmul" && constants.N === 320;
  const isFused = ({ tuning }: { tuning: Tuning }) =>
    tilesOf(tuning, "qkv").matmulTiles.find(({ maxRows }) => maxRows === 1)!.fusesNorm;
  // 10 ms with the norm fused; 10 for the norm and 2 for the product without.
  assertEquals(isFused(await tune(costs(isFast))), true);
  const areFast = (call: Call) => isFast(call) || call.kernelName === "rms_norm";
  assertEquals(isFused(await tune(costs(areFast))), false);
});

Deno.test("tuneKernels() uses what is known without timing it", async () => {
  const isFast = ({ kernelName }: Call) => kernelName === "paged_attention_prefill";
  const first = await tune(costs(({ constants }) => constants.SPLIT_LEN === 128));
  const known = first.operations;
  const second = await tune(costs(isFast), { known, limitMs: 0 });
  assertEquals(second.tuning, first.tuning);
  assertEquals(second.tuning.splitLen, 128);
  assertEquals([second.timed, second.numLeft, second.device.runs], [[], 0, []]);
});

Deno.test("tuneKernels() times what is not known, and what names a variant there is not", async () => {
  const { operations: all } = await tune({});
  const [head, down] = [all[4]!, all[3]!];
  const known = all.filter((record) => record !== head)
    .map((record) => record === down ? { ...down, variant: "of old" } : record);
  const { timed, operations } = await tune({}, { known });
  assertEquals(timed.map(({ operation }) => operation), [down.operation, head.operation]);
  assertEquals(operations.length, all.length);
});

Deno.test("tuneKernels() begins nothing after its time, and leaves the rest for later", async () => {
  const all = await tune({});
  const progress: number[][] = [];
  const onProgress = (...counts: number[]) => progress.push(counts);
  const { timed, numLeft, operations } = await tune({}, { limitMs: 1, onProgress });
  assertEquals(timed.map(({ operation }) => operation), ["qkv 320x192 f16, 1 row"]);
  assertEquals([operations.length, numLeft], [1, all.operations.length - 1]);
  assertEquals(progress, [[1, all.operations.length]]);
  const none = await tune({}, { limitMs: 0 });
  assertEquals([none.timed.length, none.device.runs.length], [0, 0]);
  assertEquals(none.tuning, none.usual);
});

Deno.test("tuneKernels() leaves out what does not compile, with a line in the log", async () => {
  const { operations, lines } = await tune({
    compiles: ({ kernelName, constants }) => kernelName !== "gemm" || constants.COLUMNS !== 128,
  });
  const { micros } = operations.find(({ operation }) => operation.startsWith("o 192x192 f16, 65"))!;
  assertEquals(Object.keys(micros).some((name) => name.includes("128x128")), false);
  assertEquals(Object.keys(micros).some((name) => name.includes("128x64")), true);
  const left = lines.filter(({ message }) => message === "kernel variant left out");
  assertEquals(left.length, 4, "for each product of prompts");
  assertEquals(left[0]!.operation, "qkv 320x192 f16, 65 rows or more");
  assertStringIncludes(String(left[0]!.reason), "too much for this device");
  const bad = {
    compiles: ({ kernelName }: Call) => !kernelName.startsWith("paged_attention_decode"),
  };
  await assertRejects(() => tune(bad), KernelError, "too much");
});

Deno.test("tuneKernels() times nothing that a step of this server cannot have", async () => {
  const { operations } = await tune({}, {}, { maxNumSeqs: 2, maxNumBatchedTokens: 2 });
  const names = operations.map(({ operation }) => operation);
  assertEquals(names.filter((name) => /(5|9|17|65) /.test(name)), []);
  assert(names.includes("head 2048x192 f16, 2 to 4 rows"));
  assert(names.some((name) => name.startsWith("decode attention, 1 and 2 sequences of 512")));
  const lone = await tune({}, {}, { maxNumSeqs: 1, maxNumBatchedTokens: 1 });
  assertEquals(lone.operations.length, 7);
  assert(lone.operations.some(({ operation }) => operation === "sampling, 1 row of 2048"));
});

Deno.test("tuneKernels() does not time the same calls twice", async () => {
  const { operations } = await tune({});
  const names = (operation: string) =>
    Object.keys(operations.find((record) => record.operation === operation)!.micros);
  // The default with its norm apart, which this product has none of.
  const apart = "matmul 1x4, 4 lanes";
  assert(names("qkv 320x192 f16, 1 row").includes(apart));
  assertEquals(names("o 192x192 f16, 1 row").includes(apart), false);
});

Deno.test("tuneKernels() gives times of one layer, in as many layers as fill a run", async () => {
  const { operations, device } = await tune({ cost: () => 0.5 });
  for (const { operation, micros } of operations) {
    const isOne = /^(o|down) .*, 1 row/.test(operation);
    if (isOne) assertEquals(Math.round(micros.default!), 500, operation);
  }
  assertEquals(new Set(device.runs.flat().map(({ label }) => label)).has("qkv"), true);
  const most = Math.max(...device.runs.map((calls) => calls.length));
  assert(most >= 10 && most < 40, `${most} calls in the longest run`);
});

Deno.test("fastest() wants a clear gain over the usual variant", () => {
  assertEquals(fastest({ default: 100, wide: 98 }), "default");
  assertEquals(fastest({ default: 100, wide: 96, tall: 95 }), "tall");
  assertEquals(fastest({ "8": 100, "16": 99 }, "8"), "8");
  assertEquals(fastest({ "8": 100, "16": 90 }, "8"), "16");
});
