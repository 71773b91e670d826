/**
 * `deno run -A bench/weight_formats.ts [--quick] [--device D] [--write]`: what a product costs in
 * each format of weights.
 *
 * One matrix of a 1B model's size, for one row, eight and a chunk, the formats in turns. Weights
 * are random bits. The last line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { matmul } from "../kernels/matmul/matmul.ts";
import { productCalls } from "../kernels/matmul/product.ts";
import { HEADER_WORDS, NO_WORK, STEP, type StepDims } from "../kernels/step.ts";
import { tuningFor } from "../kernels/tuning/tuning.ts";
import { matrixBytes, type WeightDtype } from "../src/core/weight_format.ts";
import type { Device } from "../src/device/device.ts";
import { timeCandidates, type TimedCalls } from "../src/runner/call_timing.ts";
import { openDevice } from "../src/runner/open_device.ts";
import { asTextures } from "../src/runner/weight_textures.ts";
import { createWeight } from "../src/runner/weight_buffers.ts";
import { fillBuffer } from "./random_weights.ts";
import { benchOptions, keepResult } from "./results.ts";

const FORMATS: readonly WeightDtype[] = ["f16", "int8g32", "int4g32", "q4_k", "q6_k"];
const FULL = { n: 2048, k: 2048, rows: [1, 8, 64], timing: { runMs: 50, numRounds: 5 } };
const QUICK = { n: 64, k: 256, rows: [1, 9], timing: { runMs: 0, numRounds: 1 } };

/** One format's product of so many rows. */
interface FormatTime {
  readonly dtype: WeightDtype;
  readonly rows: number;
  readonly micros: number;
  /** Bytes of the matrix, scales included, over that time. */
  readonly gbps: number;
}

/** A product over a matrix of its own. */
async function product(
  device: Device,
  dtype: WeightDtype,
  { n, k }: { n: number; k: number },
  numRows: number,
): Promise<TimedCalls<StepDims>> {
  const spec = { name: dtype, tensors: [dtype], shapes: [[n, k]] };
  const plain = await createWeight(device, spec, dtype);
  await fillBuffer(device, plain.shards[0]!.buffer, 1);
  const { shards } = await asTextures(device, spec, plain);
  const words = new Uint32Array(HEADER_WORDS);
  words[STEP.numTokens] = numRows;
  const buffers = {
    step: await device.createBuffer("step", words.byteLength),
    x: await device.createBuffer("x", 4 * numRows * k),
    y: await device.createBuffer("y", 4 * numRows * n),
    codes: await device.createBuffer("codes", 2 * numRows * k),
    scales: await device.createBuffer("scales", 4 * numRows * k),
  };
  device.write(buffers.step, 0, words);
  device.write(buffers.x, 0, new Uint8Array(new Float32Array(numRows * k).fill(1 / k).buffer));
  const dims = { ...NO_WORK, numTokens: numRows };
  const whole = { label: matmul.name, rows: "tokens", n, k, dtype } as const;
  const calls = productCalls(whole, { ...buffers, w: shards }, tuningFor(device.capabilities))
    .filter((call) => call.workgroups(dims).every((groups) => groups > 0));
  return { calls, dims, readFrom: buffers.y };
}

async function main(): Promise<void> {
  const options = benchOptions("");
  const device = await openDevice(options.device, options.gpuBackend);
  const { n, k, rows, timing } = options.quick ? QUICK : FULL;
  console.log(`Device  ${device.description}\n        a matrix of ${n} x ${k}, microseconds`);
  const times: FormatTime[] = [];
  for (const numRows of rows) {
    const candidates: TimedCalls<StepDims>[] = [];
    for (const dtype of FORMATS) candidates.push(await product(device, dtype, { n, k }, numRows));
    const seconds = await timeCandidates(device, candidates, timing);
    const row = FORMATS.map((dtype, i): FormatTime => ({
      ...{ dtype, rows: numRows, micros: 1e6 * seconds[i]! },
      gbps: matrixBytes(dtype, n, k) / seconds[i]! / 1e9,
    }));
    times.push(...row);
    const cells = row.map(({ dtype, micros, gbps }) =>
      `${dtype} ${micros.toFixed(0)} (${gbps.toFixed(1)} GB/s)`
    );
    console.log(`rows ${String(numRows).padStart(3)}  ${cells.join("  ")}`);
  }
  const shape = { n, k };
  await keepResult({ bench: "weight_formats", device: device.description, shape, times }, options);
  Deno.exit(0);
}

if (import.meta.main) await main();
