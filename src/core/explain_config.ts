import { z } from "zod";
import { checkValues, deepFreeze, readCommandLine, unexpectedArgument } from "./command_line.ts";
import { examplesOf, usageOf } from "./command_names.ts";
import type { Environment } from "./environment.ts";
import { flagsOf } from "./flags.ts";
import { helpText } from "./help.ts";

const EXPLAIN = "Explain (quire explain)";

/** The settings of `quire explain`. */
export const ExplainSchema = z.object({
  url: z.string().min(1).default("http://127.0.0.1:8000").meta({
    description: "The server of Quire to ask; /v1 is added where there is no path",
    group: EXPLAIN,
    value: "URL",
  }),
  apiKey: z.string().min(1).optional().meta({
    description:
      "Key that is sent: prefixes are found by the holder of the same key, and what has " +
      "happened to a request is told to an admin key",
    group: EXPLAIN,
    value: "KEY",
    secret: true,
    defaultText: "none",
  }),
  decisions: z.boolean().default(false).meta({
    description: "Also show each decision of the scheduler and the cache",
    group: EXPLAIN,
    value: "",
  }),
  json: z.boolean().default(false).meta({
    description: "Print the explanation as the server sends it",
    group: EXPLAIN,
    value: "",
  }),
});

/** Flags of `quire explain`. */
export const EXPLAIN_FLAGS = flagsOf(ExplainSchema);

/** The settings of `quire explain`, checked and frozen. */
export type ExplainConfig = Readonly<z.output<typeof ExplainSchema>> & {
  /** The file with the request; absent for standard input. */
  readonly file?: string;
  /** The id of a request that the server has been sent; absent where one is to be sent. */
  readonly requestId?: string;
};

/** The `id` of an answer, or of a line of the log: a prefix by its API, and a UUID. */
const REQUEST_ID = /^[a-z]+[-_][0-9a-f]{32}$/;

/**
 * Reads what follows the command `explain`; undefined where its help is asked for.
 *
 * @throws {StartupError} as `parseConfig`.
 */
export function parseExplainConfig(
  args: readonly string[],
  env: Environment,
): ExplainConfig | undefined {
  const { asked, positionals, given } = readCommandLine(args, env, { flags: EXPLAIN_FLAGS });
  if (asked !== undefined) return undefined;
  const [file, surplus] = positionals;
  if (surplus !== undefined) throw unexpectedArgument(surplus);
  const values = checkValues(ExplainSchema, given);
  if (file === undefined || file === "-") return deepFreeze(values);
  return deepFreeze({ ...values, ...(REQUEST_ID.test(file) ? { requestId: file } : { file }) });
}

/** The page that `quire explain --help` prints. */
export function explainHelp(): string {
  return helpText(EXPLAIN_FLAGS, [
    "Quire sends a request, as a JSON body of /v1/chat/completions or a list of messages, with " +
    "explain, and shows what its prompt found in the prefix cache, and why it found no more. One " +
    "token is generated. Like every request it leaves its prompt in the cache.",
    "Given the id of a request that the server has been sent, as its answer and the log have it, " +
    "Quire shows what has happened to it: how long it waited, why and behind which, what was " +
    "computed of it, for which it was preempted, and its end.",
    usageOf("explain"),
    ...examplesOf("explain"),
  ]);
}
