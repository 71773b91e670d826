import { z } from "zod";
import { checkValues, deepFreeze, readCommandLine, takeModelArgument } from "./command_line.ts";
import { examplesOf, usageOf } from "./command_names.ts";
import { ConfigSchema } from "./config_schema.ts";
import type { Environment } from "./environment.ts";
import { StartupError } from "./errors.ts";
import { flagsOf } from "./flags.ts";
import { helpText } from "./help.ts";

const PLAN = "Plan (quire plan)";

/** The settings of `quire plan`: those of `serve` that decide sizes, and its own. */
export const PlanSchema = z.object({
  model: ConfigSchema.shape.model.meta({
    description:
      "Model to plan for: a preset, a directory with a config.json, a GGUF file, or a name on the hub",
    group: PLAN,
    value: "MODEL",
    defaultText: "the bundled demo model",
  }),
  memory: z.int().min(1).default(8 * 2 ** 30).meta({
    description: "Memory for the KV pool alone",
    group: PLAN,
    value: "SIZE",
    bytes: true,
    defaultText: "8GiB",
  }),
  lengths: z.string().min(1).optional().meta({
    description: "File with the lengths of your own requests, one PROMPT OUTPUT pair per line",
    group: PLAN,
    value: "FILE",
    defaultText: "lengths like ShareGPT's and Alpaca's",
  }),
  json: z.boolean().default(false).meta({
    description: "Print the plan as JSON, as GET /admin/kv/plan answers it",
    group: PLAN,
    value: "",
  }),
  gpuMemoryBytes: ConfigSchema.shape.gpuMemoryBytes.meta({
    description: "Memory for weights, activations and KV pool together, in place of --memory",
    group: PLAN,
    value: "SIZE",
    bytes: true,
    defaultText: "the pool has --memory, however large the weights are",
  }),
  quantization: ConfigSchema.shape.quantization,
  blockSize: ConfigSchema.shape.blockSize,
  kvCacheF16EdgeLayers: ConfigSchema.shape.kvCacheF16EdgeLayers,
  maxModelLen: z.int().min(2).optional().meta({
    description: "Most tokens of one sequence, prompt and output together",
    group: "Model",
    value: "TOKENS",
    aliases: ["-c", "--ctx-size"],
    defaultText: "what the model was made for",
  }),
  maxNumBatchedTokens: ConfigSchema.shape.maxNumBatchedTokens,
});

const FLAGS = flagsOf(PlanSchema);
const flagOf = (name: keyof typeof PlanSchema.shape) => FLAGS.find(({ field }) => field === name)!;
const MODEL_FLAG = flagOf("model");

/** Flags that `serve` does not have, for the page that shows all commands. */
export const PLAN_FLAGS = FLAGS.filter(({ field }) => !(field in ConfigSchema.shape));

/** The settings of `quire plan`, checked and frozen. */
export type PlanConfig = Readonly<z.output<typeof PlanSchema>>;

/**
 * Reads what follows the command `plan`; undefined where its help is asked for.
 *
 * @throws {StartupError} as `parseConfig`.
 */
export function parsePlanConfig(args: readonly string[], env: Environment): PlanConfig | undefined {
  const line = readCommandLine(args, env, { flags: FLAGS });
  if (line.asked !== undefined) return undefined;
  takeModelArgument(line, MODEL_FLAG);
  if (line.given.has(flagOf("memory")) && line.given.has(flagOf("gpuMemoryBytes"))) {
    throw new StartupError(
      "--memory is for the KV pool alone, and --gpu-memory-bytes for all of it: give one of them",
    );
  }
  return deepFreeze(checkValues(PlanSchema, line.given));
}

/** The page that `quire plan --help` prints; `presets` are the names that `--model` knows. */
export function planHelp(presets: readonly string[]): string {
  return helpText(FLAGS, [
    "Quire plans KV memory: how many blocks, tokens and sequences of a model a size in bytes holds.",
    `${usageOf("plan")}\nPresets: ${presets.join(", ")}`,
    ...examplesOf("plan"),
  ]);
}
