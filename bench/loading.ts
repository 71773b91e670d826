/**
 * `deno run -A bench/loading.ts [--quick] [--device D] [--write]`: how fast weights are loaded, beside
 * how fast the same file is read, and what the process holds meanwhile.
 *
 * A random Llama of 216 M parameters as safetensors in f16, as such and quantized, and as GGUF in
 * blocks; each load in a process of its own. Files are read twice before they are loaded, so that
 * the system may have them in memory: `disk` is the rate past that cache, where dd can read so. The
 * last line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { formatByteSize } from "../src/base/byte_size.ts";
import type { LoadTimes } from "./load_once.ts";
import { writeRandomGguf } from "./loading_files.ts";
import { randomCheckpoint } from "./peers/random_checkpoint.ts";
import { writeSafetensors } from "./peers/safetensors_writer.ts";
import { benchOptions, keepResult } from "./results.ts";
import { shapeSizes } from "./shapes.ts";

const CONFIG = {
  model_type: "llama",
  rms_norm_eps: 1e-5,
  hidden_size: 1024,
  num_hidden_layers: 12,
  num_attention_heads: 16,
  num_key_value_heads: 4,
  head_dim: 64,
  intermediate_size: 4096,
  vocab_size: 32_768,
  max_position_embeddings: 4096,
  rope_theta: 10_000,
  tie_word_embeddings: true,
};
const QUICK = {
  ...CONFIG,
  ...{ hidden_size: 256, num_hidden_layers: 1, intermediate_size: 512, vocab_size: 512 },
  ...{ num_attention_heads: 4, num_key_value_heads: 2 },
};

/** A file, and what becomes of it on the device. */
interface Load {
  readonly name: string;
  readonly file: string;
  readonly method: "none" | "int8" | "int4";
}

const LOADS: readonly Load[] = [
  { name: "f16", file: "", method: "none" },
  { name: "f16 to int8", file: "", method: "int8" },
  { name: "f16 to int4", file: "", method: "int4" },
  { name: "GGUF Q8_0", file: "/q8_0.gguf", method: "none" },
  { name: "GGUF Q4_K", file: "/q4_k.gguf", method: "none" },
];

async function loadOnce(dir: string, { file, method }: Load, device: string): Promise<LoadTimes> {
  const script = new URL("load_once.ts", import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", script, `${dir}${file}`, device, method],
  }).output();
  const text = new TextDecoder();
  if (!success) throw new Error(text.decode(stderr));
  return JSON.parse(text.decode(stdout).trimEnd().split("\n").at(-1)!);
}

/** Bytes per second that dd reads past the system's cache; undefined where it cannot. */
async function diskRate(path: string): Promise<number | undefined> {
  try {
    const began = performance.now();
    const { success } = await new Deno.Command("dd", {
      args: [`if=${path}`, "of=/dev/null", "bs=16M", "iflag=direct"],
      stderr: "null",
    }).output();
    const seconds = (performance.now() - began) / 1000;
    return success ? Deno.statSync(path).size / seconds : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

const mbps = (bytes: number, seconds: number) => bytes / seconds / 1e6;

async function main(): Promise<void> {
  const options = benchOptions("");
  const dir = await Deno.makeTempDir();
  try {
    const config = options.quick ? QUICK : CONFIG;
    const sizes = shapeSizes({ name: "loading", config });
    await writeSafetensors(dir, { config }, randomCheckpoint(sizes, 1));
    await writeRandomGguf(`${dir}/q8_0.gguf`, sizes, "Q8_0");
    await writeRandomGguf(`${dir}/q4_k.gguf`, sizes, "Q4_K");
    const disk = await diskRate(`${dir}/model.safetensors`);
    const diskWords = disk === undefined ? "" : `, disk ${(disk / 1e6).toFixed(0)} MB/s`;
    const loads = [];
    let device = "";
    for (const load of LOADS) {
      const times = await loadOnce(dir, load, options.device);
      if (device === "") console.log(`Device  ${device = times.device}${diskWords}`);
      const { fileBytes, peakBytes, weightBytes, isDeviceInPeak } = times;
      const hostBytes = Math.max(0, peakBytes - (isDeviceInPeak ? weightBytes : 0));
      const [loaded, read] = [times.loadSeconds, times.readSeconds].map((s) => mbps(fileBytes, s));
      console.log(
        `${load.name.padEnd(12)} ${loaded!.toFixed(0).padStart(6)} MB/s of the file in ` +
          `${times.loadSeconds.toFixed(2)} s (processor ${times.cpuSeconds.toFixed(2)} s), read ` +
          `alone ${read!.toFixed(0)} MB/s; ` +
          `${formatByteSize(fileBytes)} become ${formatByteSize(weightBytes)}, ` +
          `the process held ${formatByteSize(hostBytes)} beside it`,
      );
      loads.push({ name: load.name, ...times, hostBytes, loadMBps: loaded, readMBps: read });
    }
    const rate = disk === undefined ? {} : { diskMBps: disk / 1e6 };
    await keepResult({ bench: "loading", device, ...rate, loads }, options);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
  Deno.exit(0);
}

if (import.meta.main) await main();
