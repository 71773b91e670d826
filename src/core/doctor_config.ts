import { z } from "zod";
import { checkValues, deepFreeze, readCommandLine, unexpectedArgument } from "./command_line.ts";
import { examplesOf, usageOf } from "./command_names.ts";
import { ConfigSchema } from "./config_schema.ts";
import type { Environment } from "./environment.ts";
import { flagsOf } from "./flags.ts";
import { helpText } from "./help.ts";

/** The settings of `quire doctor`: where a server would listen and keep its files. */
const DoctorSchema = ConfigSchema.pick({
  host: true,
  port: true,
  gpuBackend: true,
  prefixStore: true,
  tuningStore: true,
}).extend({
  json: z.boolean().default(false).meta({
    description: "Print what is found as JSON",
    group: "Doctor (quire doctor)",
    value: "",
  }),
});

/** Flags of `quire doctor`. */
export const DOCTOR_FLAGS = flagsOf(DoctorSchema);

/** The settings of `quire doctor`, checked and frozen. */
export type DoctorConfig = Readonly<z.output<typeof DoctorSchema>>;

/**
 * Reads what follows the command `doctor`; undefined where its help is asked for.
 *
 * @throws {StartupError} as `parseConfig`.
 */
export function parseDoctorConfig(
  args: readonly string[],
  env: Environment,
): DoctorConfig | undefined {
  const { asked, positionals, given } = readCommandLine(args, env, { flags: DOCTOR_FLAGS });
  if (asked !== undefined) return undefined;
  if (positionals.length > 0) throw unexpectedArgument(positionals[0]!);
  return deepFreeze(checkValues(DoctorSchema, given));
}

/** The page that `quire doctor --help` prints. */
export function doctorHelp(): string {
  return helpText(DOCTOR_FLAGS, [
    "Quire looks at this machine: device, driver and features, memory, Deno's permissions, the " +
    "cache of models and the files of its own. What is missing comes with the way to get it. " +
    "Exit code 1 where `quire serve` could not start.",
    usageOf("doctor"),
    ...examplesOf("doctor"),
  ]);
}
