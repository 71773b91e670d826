import { z } from "zod";
import {
  checkValues,
  deepFreeze,
  readCommandLine,
  takeModelArgument,
  unexpectedArgument,
} from "./command_line.ts";
import { examplesOf, usageOf } from "./command_names.ts";
import type { Environment } from "./environment.ts";
import { StartupError } from "./errors.ts";
import { type Flag, flagsOf } from "./flags.ts";
import { helpText } from "./help.ts";

const PULL = "Pull (quire pull)";
const MODELS = "Models (quire models)";

/** The settings of `quire pull`. */
export const PullSchema = z.object({
  model: z.string().min(1).optional().meta({
    description: "Model to bring into the cache: ORG/NAME[@REVISION][:FILE or QUANTIZATION]",
    group: PULL,
    value: "MODEL",
  }),
});

/** The settings of `quire models`. */
export const ModelsSchema = z.object({
  json: z.boolean().default(false).meta({
    description: "Print the list as JSON",
    group: MODELS,
    value: "",
  }),
});

const PULL_FLAGS = flagsOf(PullSchema);
const MODELS_FLAGS = flagsOf(ModelsSchema);
const MODEL_FLAG = PULL_FLAGS[0]!;

/** The settings of `quire pull` and `quire rm`, checked and frozen. */
export interface NamedModel {
  readonly model: string;
}

/** The settings of `quire models`, checked and frozen. */
export type ModelsConfig = Readonly<z.output<typeof ModelsSchema>>;

/**
 * Reads what follows the command `pull`; undefined where its help is asked for.
 *
 * @throws {StartupError} as `parseConfig`, and without a model.
 */
export function parsePullConfig(args: readonly string[], env: Environment): NamedModel | undefined {
  const line = readCommandLine(args, env, { flags: PULL_FLAGS });
  if (line.asked !== undefined) return undefined;
  takeModelArgument(line, MODEL_FLAG);
  const { model } = checkValues(PullSchema, line.given);
  return deepFreeze({ model: required(model, "pull") });
}

/** Reads what follows the command `models`; undefined where its help is asked for. */
export function parseModelsConfig(
  args: readonly string[],
  env: Environment,
): ModelsConfig | undefined {
  const line = readCommandLine(args, env, { flags: MODELS_FLAGS });
  if (line.asked !== undefined) return undefined;
  refuseArguments(line.positionals);
  return deepFreeze(checkValues(ModelsSchema, line.given));
}

/**
 * Reads what follows the command `rm`; undefined where its help is asked for. What is removed must
 * stand on the command line: no variable names it.
 *
 * @throws {StartupError} as `parseConfig`, and without a model.
 */
export function parseRemoveConfig(args: readonly string[]): NamedModel | undefined {
  const line = readCommandLine(args, {}, { flags: [] });
  if (line.asked !== undefined) return undefined;
  const [model, ...surplus] = line.positionals;
  refuseArguments(surplus);
  return deepFreeze({ model: required(model, "rm") });
}

/** The page that `quire pull --help` prints. */
export function pullHelp(): string {
  return helpOf(PULL_FLAGS, [
    "Quire brings a model into the cache that the Hugging Face tools of this machine share. What " +
    "is there is kept, what was cut off continues, and every file is checked.",
    usageOf("pull"),
    ...examplesOf("pull"),
  ]);
}

/** The page that `quire models --help` prints. */
export function modelsHelp(): string {
  return helpOf(MODELS_FLAGS, [
    "Quire lists the models in the cache: revision, size, type, and whether this build can run " +
    "each.",
    usageOf("models"),
    ...examplesOf("models"),
  ]);
}

/** The page that `quire rm --help` prints. */
export function removeHelp(): string {
  return helpOf([], [
    "Quire removes a model from the cache: one revision, or all. Contents that another revision " +
    "needs stay.",
    usageOf("rm"),
    ...examplesOf("rm"),
  ]);
}

function helpOf(flags: readonly Flag[], head: readonly string[]): string {
  return helpText(flags, [...head, "Where the cache lies is what HF_HOME says: docs/models.md."]);
}

function required(model: string | undefined, command: string): string {
  if (model !== undefined) return model;
  throw new StartupError(
    `quire ${command} needs the name of a model, such as quire ${command} Qwen/Qwen3-0.6B`,
  );
}

function refuseArguments(positionals: readonly string[]): void {
  if (positionals.length > 0) throw unexpectedArgument(positionals[0]!);
}
