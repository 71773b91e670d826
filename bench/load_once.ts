/**
 * `deno run -A bench/load_once.ts MODEL DEVICE none|int8|int4`: loads a model's weights in a process
 * of its own, and prints how long that took and what the process held, as a line of JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { cpuUsage } from "node:process";
import { readModel } from "../models/registry.ts";
import type { DeviceChoice } from "../src/core/engine_config.ts";
import { DEFAULT_QUANTIZATIONS, type Quantization } from "../src/core/weight_format.ts";
import { openDevice } from "../src/runner/open_device.ts";
import { uploadWeights } from "../src/runner/upload_weights.ts";
import { openFile, readFully } from "../src/weights/file_ranges.ts";
import { findModelSource } from "../src/weights/model_source.ts";

const CHUNK_BYTES = 16 * 2 ** 20;

/** What a load took. */
export interface LoadTimes {
  readonly device: string;
  /** Of the whole file. */
  readonly fileBytes: number;
  readonly loadSeconds: number;
  /** Processor time of all threads meanwhile: on a busy machine less than the time that passes. */
  readonly cpuSeconds: number;
  /** Of reading the same file in pieces, before and after: the better of the two. */
  readonly readSeconds: number;
  /** On the device. */
  readonly weightBytes: number;
  /** The process's peak beyond what it held before, and where the system does not tell, 0. */
  readonly peakBytes: number;
  /** Whether the device's memory is in that peak. */
  readonly isDeviceInPeak: boolean;
}

/** Seconds to read a file from one end to the other. */
function timeRead(path: string): number {
  const file = openFile(path);
  const piece = new Uint8Array(CHUNK_BYTES);
  const began = performance.now();
  for (let at = 0; at < file.size; at += CHUNK_BYTES) {
    readFully(file, at, piece.subarray(0, Math.min(CHUNK_BYTES, file.size - at)));
  }
  file.file.close();
  return (performance.now() - began) / 1000;
}

/** A line of `/proc/self/status` in bytes; 0 where there is none. */
function processBytes(field: "VmHWM" | "VmRSS"): number {
  try {
    const status = Deno.readTextFileSync("/proc/self/status");
    return 1024 * Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0);
  } catch {
    return 0;
  }
}

async function main(): Promise<void> {
  const [path, choice, method] = Deno.args as [string, string, string];
  const device = await openDevice(choice as DeviceChoice);
  const source = findModelSource(path);
  const model = readModel(source.configFiles());
  const file = path.endsWith(".gguf") ? path : `${path}/model.safetensors`;
  const quantization: Quantization | undefined =
    DEFAULT_QUANTIZATIONS[method as Quantization["method"]];
  const firstRead = timeRead(file);
  const checkpoint = source.openCheckpoint();
  const before = processBytes("VmRSS");
  const cpuBefore = cpuUsage();
  const began = performance.now();
  const weights = await uploadWeights(device, checkpoint, model.weights, {
    ...(quantization === undefined ? {} : { quantization }),
  });
  // Nothing is under way any more when something can be read back.
  const last = weights.weight(model.weights.at(-1)!.name).shards[0]!.buffer;
  if (last.isTexture !== true) await device.read(last, 0, 4);
  const loadSeconds = (performance.now() - began) / 1000;
  const { user, system } = cpuUsage(cpuBefore);
  const peakBytes = Math.max(0, processBytes("VmHWM") - before);
  checkpoint.close();
  const times: LoadTimes = {
    device: device.description,
    fileBytes: Deno.statSync(file).size,
    loadSeconds,
    cpuSeconds: (user + system) / 1e6,
    readSeconds: Math.min(firstRead, timeRead(file)),
    weightBytes: weights.bytes,
    peakBytes,
    isDeviceInPeak: device.isSoftware,
  };
  console.log(JSON.stringify(times));
  Deno.exit(0);
}

if (import.meta.main) await main();
