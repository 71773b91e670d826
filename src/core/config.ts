import { nearestName } from "../base/edit_distance.ts";
import { omitUndefined } from "../base/omit_undefined.ts";
import {
  checkValues,
  deepFreeze,
  type IgnoredFlag,
  readCommandLine,
  takeModelArgument,
} from "./command_line.ts";
import { COMMANDS as ALL_COMMANDS } from "./command_names.ts";
import { checkInt8Activations, ConfigSchema, type Settings } from "./config_schema.ts";
import type { EngineConfig, SchedulingSettings } from "./engine_config.ts";
import type { Environment } from "./environment.ts";
import { StartupError } from "./errors.ts";
import { flagsOf } from "./flags.ts";
import { helpText } from "./help.ts";
import { PLAN_FLAGS } from "./plan_config.ts";
import { TUNE_FLAGS } from "./tune_config.ts";
import type { Quantization } from "./weight_format.ts";

/** What the process is asked to do. */
export type Command = "serve" | "help" | "version";

const COMMANDS: readonly Command[] = ["serve", "help", "version"];
/** Commands with flags of their own, which stand first on the command line. */
const OTHER_COMMANDS: readonly string[] = ALL_COMMANDS.map(({ name }) => name)
  .filter((name) => !COMMANDS.includes(name as Command));
/** Flags of `quire serve`. */
export const SERVE_FLAGS = flagsOf(ConfigSchema);
const MODEL_FLAG = SERVE_FLAGS.find(({ field }) => field === "model")!;

/** vLLM's flags that WebGPU cannot honour, with the reason and what to use instead. */
const ANSWERED: ReadonlyMap<string, string> = new Map([
  [
    "gpu-memory-utilization",
    "--gpu-memory-utilization cannot be honoured: WebGPU does not tell how much memory a GPU has. " +
    "Give what weights, activations and KV pool may take instead, such as --gpu-memory-bytes 8GiB",
  ],
  ...["swap-space", "kv-offloading-size"].map((name) =>
    [
      name,
      `--${name} counts GiB; give a size with its unit instead, such as --swap-memory-bytes 4GiB`,
    ] as const
  ),
]);

const EVERY_LAYER = "every layer runs on the device, see --device";
const ONE_DEVICE = "a model runs on one device";

/** Flags of llama.cpp and vLLM for what Quire decides by itself, or always does. */
const IGNORED: ReadonlyMap<string, IgnoredFlag> = new Map([
  ...["-ngl", "--gpu-layers", "--n-gpu-layers"].map((name) =>
    [name, { hasValue: true, why: EVERY_LAYER }] as const
  ),
  ...["-t", "--threads"].map((name) =>
    [name, { hasValue: true, why: "the device has its own threads" }] as const
  ),
  ...["-fa", "--flash-attn"].map((name) =>
    [name, { hasValue: true, why: "attention is always computed in tiles" }] as const
  ),
  ["-tp", { hasValue: true, why: ONE_DEVICE }],
  ["--tensor-parallel-size", { hasValue: true, why: ONE_DEVICE }],
  ["--no-mmap", { hasValue: false, why: "weights are read, not mapped" }],
  ["--mlock", { hasValue: false, why: "weights lie in the device's memory" }],
  ["--jinja", { hasValue: false, why: "chat templates are always rendered as Jinja" }],
  ["-cb", { hasValue: false, why: "requests are always batched continuously" }],
  ["--cont-batching", { hasValue: false, why: "requests are always batched continuously" }],
  ["--trust-remote-code", { hasValue: false, why: "no code of a model is ever run" }],
  ["--enable-chunked-prefill", { hasValue: false, why: "long prompts are always cut into chunks" }],
  ["--enforce-eager", { hasValue: false, why: "there are no graphs to capture" }],
]);

/** A command and the settings it runs with. */
export type Config = Settings & { readonly command: Command };

/**
 * Reads the command line and its environment twins into a frozen configuration. A flag beats its
 * variable; an empty variable counts as absent. Without a command it is `serve`.
 *
 * @param note is told of each flag of another program that changes nothing here.
 * @throws {StartupError} on an unknown command or flag (with the nearest name), and on a value
 * outside its bounds (with flag, bounds and value).
 */
export function parseConfig(
  args: readonly string[],
  env: Environment,
  note: (line: string) => void = () => {},
): Config {
  const known = { flags: SERVE_FLAGS, answered: ANSWERED, ignored: IGNORED, note };
  const line = readCommandLine(args, env, known);
  const command = line.asked ?? readCommand(line.positionals);
  if (command !== "serve") return deepFreeze({ command, ...ConfigSchema.parse({}) });
  takeModelArgument(line, MODEL_FLAG);
  const values = checkValues(ConfigSchema, line.given);
  checkBudget(values);
  checkSnapshotInterval(values);
  checkPoolSize(values);
  checkInt8Activations(values);
  return deepFreeze({ command, ...values });
}

/** The page that the command `help` prints: all commands, and the flags of each. */
export function configHelp(): string {
  return helpText([...SERVE_FLAGS, ...PLAN_FLAGS, ...TUNE_FLAGS]);
}

/**
 * The part of the configuration that the engine isolate needs, for a model whose files are local.
 */
export function toEngineConfig(config: Settings, modelDir: string): EngineConfig {
  return omitUndefined({
    modelDir,
    device: config.device,
    gpuBackend: config.gpuBackend,
    autotune: config.autotune,
    logFormat: config.logFormat,
    logLevel: config.logLevel,
    blockSize: config.blockSize,
    kvCacheDtype: config.kvCacheDtype === "auto" ? "f16" : config.kvCacheDtype,
    kvCacheF16EdgeLayers: config.kvCacheF16EdgeLayers,
    enablePrefixCaching: config.enablePrefixCaching,
    evictionPolicy: config.evictionPolicy,
    stateSnapshotInterval: config.stateSnapshotInterval,
    ...quantizationOf(config),
    isDeterministic: config.deterministic || undefined,
    maxNumSeqs: config.maxNumSeqs,
    maxNumBatchedTokens: config.maxNumBatchedTokens,
    maxPrefillMs: config.maxPrefillMs,
    maxNumQueuedSeqs: config.maxQueuedRequests,
    ...schedulingOf(config),
    numBlocksOverride: config.numGpuBlocksOverride,
    kvCacheMemoryBytes: config.kvCacheMemoryBytes,
    gpuMemoryBytes: config.gpuMemoryBytes,
    maxKvCacheMemoryBytes: config.maxKvCacheMemoryBytes,
    swapMemoryBytes: config.swapMemoryBytes || undefined,
    maxModelLen: config.maxModelLen,
    traceSteps: config.traceSteps,
  });
}

function schedulingOf(config: Settings): SchedulingSettings {
  const half = Math.ceil(config.maxNumBatchedTokens / 2);
  return omitUndefined({
    schedulingPolicy: config.schedulingPolicy,
    longPrefillTokenThreshold: (config.longPrefillTokenThreshold ?? half) || undefined,
    maxLongPartialPrefills: config.maxLongPartialPrefills,
    scheduleConservativeness: config.scheduleConservativeness / 100,
    maxDecodeSteps: config.maxDecodeSteps,
  });
}

function quantizationOf(config: Settings): Pick<EngineConfig, "quantization" | "int8Activations"> {
  const { quantization: method, int8Activations } = config;
  if (method === "none") return {};
  const groupSize = config.quantizationGroupSize === "32" ? 32 : 128;
  if (method === "int8") return { quantization: { method, groupSize }, int8Activations };
  return { quantization: { method, groupSize, ...int4Details(config) }, int8Activations };
}

/** What of int4 weights is not plain int4. Products of integers take no minima. */
function int4Details(
  { quantizationGroupSize, quantizationEmbedding, int8Activations }: Settings,
): Pick<Quantization, "vocabulary" | "hasMinima"> {
  const hasMinima = quantizationGroupSize === "32" && int8Activations === "off";
  return {
    ...(quantizationEmbedding === "int8" ? { vocabulary: "int8" } : {}),
    ...(hasMinima ? { hasMinima } : {}),
  };
}

/** Takes the command off the front of the positional arguments. */
function readCommand(positionals: string[]): Command {
  const name = positionals.shift() ?? "serve";
  const command = COMMANDS.find((known) => known === name);
  if (command !== undefined) return command;
  if (OTHER_COMMANDS.includes(name)) {
    throw new StartupError(`The command ${name} stands before its flags: see --help`);
  }
  const names = [...COMMANDS, ...OTHER_COMMANDS];
  const nearest = nearestName(name, names);
  const hint = nearest === undefined ? `one of ${names.join(", ")}` : `did you mean ${nearest}?`;
  throw new StartupError(`Unknown command ${JSON.stringify(name)}: ${hint}`);
}

function checkBudget({ maxNumBatchedTokens, maxNumSeqs }: Settings): void {
  if (maxNumBatchedTokens >= maxNumSeqs) return;
  throw new StartupError(
    `--max-num-batched-tokens must be at least --max-num-seqs (${maxNumSeqs}), ` +
      `got ${maxNumBatchedTokens}: each running sequence needs one token per step`,
  );
}

/** States are kept on block boundaries, where a later prompt can find them. */
function checkSnapshotInterval({ stateSnapshotInterval, blockSize }: Settings): void {
  if (stateSnapshotInterval === undefined || stateSnapshotInterval % blockSize === 0) return;
  throw new StartupError(
    `--state-snapshot-interval must be a multiple of --block-size (${blockSize}), ` +
      `got ${stateSnapshotInterval}`,
  );
}

/** Refuses a growth limit beside a fixed size: a pool whose size is given does not grow. */
function checkPoolSize(values: Settings): void {
  const { maxKvCacheMemoryBytes, numGpuBlocksOverride, kvCacheMemoryBytes, gpuMemoryBytes } =
    values;
  if (maxKvCacheMemoryBytes === undefined) return;
  const given = numGpuBlocksOverride !== undefined
    ? "--num-gpu-blocks-override"
    : kvCacheMemoryBytes !== undefined
    ? "--kv-cache-memory-bytes"
    : gpuMemoryBytes !== undefined
    ? "--gpu-memory-bytes"
    : undefined;
  if (given === undefined) return;
  throw new StartupError(
    `--max-kv-cache-memory-bytes (${maxKvCacheMemoryBytes}) says how far the KV pool may grow, but ` +
      `with ${given} it keeps that size: give one of the two`,
  );
}
