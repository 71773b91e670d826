import { z } from "zod";
import { checkValues, deepFreeze, readCommandLine, takeModelArgument } from "./command_line.ts";
import { examplesOf, usageOf } from "./command_names.ts";
import {
  checkInt8Activations,
  ConfigSchema,
  ENGINE_SETTINGS,
  type Settings,
} from "./config_schema.ts";
import type { Environment } from "./environment.ts";
import { flagsOf } from "./flags.ts";
import { helpText } from "./help.ts";

const TUNE = "Tune (quire tune)";

/** The settings of `quire tune`: those of `serve` that decide which kernels run, and its own. */
export const TuneSchema = ConfigSchema.pick({
  ...ENGINE_SETTINGS,
  maxNumSeqs: true,
  logFormat: true,
  logLevel: true,
}).extend({
  context: z.int().min(16).max(131_072).default(2048).meta({
    description: "Length of the sequences for which block sizes are compared, in tokens",
    group: TUNE,
    value: "TOKENS",
  }),
  json: z.boolean().default(false).meta({
    description: "Print the times as JSON",
    group: TUNE,
    value: "",
  }),
});

const FLAGS = flagsOf(TuneSchema);
const MODEL_FLAG = FLAGS.find(({ field }) => field === "model")!;

/** Flags that neither `serve` nor `plan` has, for the page that shows all commands. */
export const TUNE_FLAGS = FLAGS.filter(({ field }) => field === "context");

/**
 * The settings of `quire tune`, checked and frozen; those without a flag here have `serve`'s
 * defaults.
 */
export type TuneConfig =
  & Settings
  & Readonly<Pick<z.output<typeof TuneSchema>, "context" | "json">>;

/**
 * Reads what follows the command `tune`; undefined where its help is asked for.
 *
 * @throws {StartupError} as `parseConfig`.
 */
export function parseTuneConfig(args: readonly string[], env: Environment): TuneConfig | undefined {
  const line = readCommandLine(args, env, { flags: FLAGS });
  if (line.asked !== undefined) return undefined;
  takeModelArgument(line, MODEL_FLAG);
  const values = { ...ConfigSchema.parse({}), ...checkValues(TuneSchema, line.given) };
  checkInt8Activations(values);
  return deepFreeze(values);
}

/** The page that `quire tune --help` prints. */
export function tuneHelp(): string {
  return helpText(FLAGS, [
    "Quire times the variants of every kernel of a model on this machine, keeps the times for later " +
    "starts, and shows them.",
    usageOf("tune"),
    ...examplesOf("tune"),
  ]);
}
