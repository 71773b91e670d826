import { parseArgs } from "node:util";
import type { WeightDtype } from "../src/core/weight_format.ts";
import type { DeviceChoice, GpuBackend } from "../src/core/engine_config.ts";
import { currentCommit } from "./demo.ts";
import { SHAPES } from "./shapes.ts";

/** What the benches of shapes are asked for on the command line. */
export interface BenchOptions {
  readonly shapes: readonly string[];
  readonly device: DeviceChoice;
  readonly gpuBackend: GpuBackend;
  /** Few and small steps: proves that the bench works. */
  readonly quick: boolean;
  /** Whether to time variants of the kernels first, and measure with the fastest. */
  readonly tune: boolean;
  /** Element types of the weights, each measured. */
  readonly weights: readonly WeightDtype[];
  /** Whether to keep the result in `bench/results/`. */
  readonly write: boolean;
}

/**
 * Parses `--shape NAME` (or `all`), `--device`, `--gpu-backend`, `--quick`, `--tune`, `--weights` and
 * `--write`.
 */
export function benchOptions(defaultShape: string, args: readonly string[] = Deno.args) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      shape: { type: "string", default: defaultShape },
      device: { type: "string", default: "auto" },
      "gpu-backend": { type: "string", default: "deno" },
      quick: { type: "boolean", default: false },
      tune: { type: "boolean", default: false },
      weights: { type: "string", default: "f16" },
      write: { type: "boolean", default: false },
    },
  });
  const all = SHAPES.map(({ name }) => name).filter((name) => name !== "tiny");
  return {
    shapes: values.shape === "all" ? all : values.shape.split(","),
    device: values.device as DeviceChoice,
    gpuBackend: values["gpu-backend"] as GpuBackend,
    quick: values.quick,
    tune: values.tune,
    weights: values.weights.split(",").map(findWeights),
    write: values.write,
  } satisfies BenchOptions;
}

/** What random weights can be made in. */
const WEIGHTS: readonly WeightDtype[] = [
  ...["f16", "int8g32", "int8g128", "int4g32", "int4g128", "q4_k", "q6_k"] as const,
];

function findWeights(name: string): WeightDtype {
  const dtype = WEIGHTS.find((known) => known === name);
  if (dtype !== undefined) return dtype;
  throw new RangeError(`Cannot make weights in "${name}": known are ${WEIGHTS.join(", ")}`);
}

/** A device's name as part of a file name. */
export function fileName(device: string): string {
  return device.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
}

/** Prints a result as one line of JSON, the last, and keeps it where that is asked for. */
export async function keepResult(
  result: Readonly<Record<string, unknown>> & { readonly bench: string; readonly device: string },
  { write }: Pick<BenchOptions, "write">,
): Promise<void> {
  const { bench, ...rest } = result;
  const commit = await currentCommit();
  const host = { date: new Date().toISOString(), commit, deno: Deno.version.deno };
  const whole = { bench, ...host, ...rest };
  if (write) {
    const folder = new URL("results/", import.meta.url);
    await Deno.mkdir(folder, { recursive: true });
    const file = new URL(`${bench}-${fileName(result.device)}-${commit}.json`, folder);
    await Deno.writeTextFile(file, `${JSON.stringify(whole, null, 2)}\n`);
  }
  // deno-lint-ignore no-console -- the benches are command line programs
  console.log(`\n${JSON.stringify(whole)}`);
}
