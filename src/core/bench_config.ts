import { z } from "zod";
import { checkValues, deepFreeze, readCommandLine, unexpectedArgument } from "./command_line.ts";
import { examplesOf, usageOf } from "./command_names.ts";
import type { Environment } from "./environment.ts";
import { StartupError } from "./errors.ts";
import { decimalText, flagsOf } from "./flags.ts";
import { helpText } from "./help.ts";

const TARGET = "Server";
const LOAD = "Load";
const REPORT = "Report";

const positive = decimalText.refine((text) => Number(text) > 0);
const POSITIVE = "a number above 0";

const GOODPUT_FIGURES = ["ttft", "tpot", "e2el"] as const;

/** A figure that a goodput may be asked of, as `vllm bench serve` names it. */
export type GoodputFigure = typeof GOODPUT_FIGURES[number];

const COUNTED_PIECES = ["text", "choices"] as const;

/** Which events of a stream are pieces of its answer. */
export type CountedPieces = typeof COUNTED_PIECES[number];

/** Such as `ttft:200`, milliseconds. */
const GOAL = new RegExp(`^(${GOODPUT_FIGURES.join("|")}):\\d+(\\.\\d+)?$`);

/** The settings of `quire bench`. */
export const BenchSchema = z.object({
  url: z.string().min(1).optional().meta({
    description: "Server to measure; /v1 is added where there is no path",
    group: TARGET,
    value: "URL",
    aliases: ["--base-url"],
  }),
  model: z.string().min(1).optional().meta({
    description: "Model to ask for",
    group: TARGET,
    value: "MODEL",
    defaultText: "the server's first",
    aliases: ["-m"],
  }),
  apiKey: z.string().min(1).optional().meta({
    description: "Key that is sent",
    group: TARGET,
    value: "KEY",
    secret: true,
    defaultText: "none",
  }),
  endpoint: z.enum(["chat", "completions"]).default("chat").meta({
    description: "What is asked: /chat/completions or /completions",
    group: TARGET,
    value: "ENDPOINT",
  }),
  workload: z.enum(["random", "prefix", "turns"]).default("random").meta({
    description: "Prompts without anything in common, prompts that share beginnings, or " +
      "conversations whose turns follow each other",
    group: LOAD,
    value: "KIND",
  }),
  trace: z.string().min(1).optional().meta({
    description: "File of requests in Mooncake's form, in place of a workload: JSON lines with " +
      "timestamp (ms), input_length, output_length and hash_ids",
    group: LOAD,
    value: "FILE",
    defaultText: "none",
  }),
  traceScale: z.int().min(1).max(100_000).default(1).meta({
    description: "Divides the lengths of a trace, for models with short contexts",
    group: LOAD,
    value: "N",
  }),
  traceSpeed: positive.default("1").meta({
    description: "How much faster than recorded a trace is replayed",
    group: LOAD,
    value: "FACTOR",
    expected: POSITIVE,
  }),
  numPrompts: z.int().min(1).max(1_000_000).default(100).meta({
    description: "Requests, or of turns: conversations; of a trace, at most so many",
    group: LOAD,
    value: "REQUESTS",
  }),
  inputLen: z.int().min(1).max(1_000_000).default(256).meta({
    description: "Length of a prompt, or of what is its own in it, in tokens of the server's",
    group: LOAD,
    value: "TOKENS",
    aliases: ["--random-input-len"],
  }),
  outputLen: z.int().min(1).max(1_000_000).default(64).meta({
    description: "Most tokens of an answer",
    group: LOAD,
    value: "TOKENS",
    aliases: ["--random-output-len"],
  }),
  prefixLen: z.int().min(1).max(1_000_000).default(512).meta({
    description: "Length of a shared beginning, in tokens (--workload prefix)",
    group: LOAD,
    value: "TOKENS",
  }),
  numPrefixes: z.int().min(1).max(100_000).default(4).meta({
    description: "Different beginnings (--workload prefix)",
    group: LOAD,
    value: "PREFIXES",
  }),
  turns: z.int().min(1).max(1000).default(4).meta({
    description: "Questions of a conversation (--workload turns)",
    group: LOAD,
    value: "TURNS",
  }),
  rate: positive.optional().meta({
    description: "Requests that begin per second",
    group: LOAD,
    value: "R",
    expected: POSITIVE,
    defaultText: "all at once",
    aliases: ["--request-rate"],
  }),
  burstiness: positive.default("1").meta({
    description: "Shape of the gamma distribution of the pauses: 1 is a Poisson process, less is " +
      "in bursts, more is evener",
    group: LOAD,
    value: "B",
    expected: POSITIVE,
  }),
  maxConcurrency: z.int().min(1).max(65_536).optional().meta({
    description: "Most requests at once; others wait, and their time begins when they are sent",
    group: LOAD,
    value: "REQUESTS",
    defaultText: "no limit",
  }),
  ignoreEos: z.boolean().default(false).meta({
    description: "Asks for answers of full length (ignore_eos of vLLM, llama.cpp and Quire)",
    group: LOAD,
    value: "",
  }),
  temperature: decimalText.optional().meta({
    description: "How freely tokens are drawn",
    group: LOAD,
    value: "T",
    expected: "a number of at least 0",
    defaultText: "the server's own",
    aliases: ["--temp"],
  }),
  seed: z.int().min(0).max(2 ** 32 - 1).default(0).meta({
    description: "Makes the same prompts and pauses again",
    group: LOAD,
    value: "N",
  }),
  warmups: z.int().min(0).max(1000).default(1).meta({
    description: "Requests before those that count",
    group: LOAD,
    value: "REQUESTS",
    aliases: ["--num-warmups"],
  }),
  goodput: z.array(z.string().regex(GOAL)).default([]).meta({
    description: "Limits in ms that a good request keeps, such as ttft:500,tpot:50; of ttft, " +
      "tpot and e2el",
    group: REPORT,
    value: "FIGURE:MS",
    expected: "one or more of ttft:MS, tpot:MS and e2el:MS, separated by commas",
    defaultText: "none",
  }),
  pieces: z.enum(COUNTED_PIECES).default("text").meta({
    description: "Events that count as pieces of an answer: those with text, or as vllm bench " +
      "serve counts all that have a choice, also a role or an end alone",
    group: REPORT,
    value: COUNTED_PIECES.join("|"),
  }),
  percentiles: z.array(z.string().regex(/^(100|\d{1,2}(\.\d+)?)$/)).default(["50", "90", "99"])
    .meta({
      description: "Percentiles that are shown",
      group: REPORT,
      value: "P",
      expected: "one or more numbers from 0 to 100, separated by commas",
      defaultText: "50,90,99",
      aliases: ["--metric-percentiles"],
    }),
  json: z.boolean().default(false).meta({
    description: "Print the report as JSON",
    group: REPORT,
    value: "",
  }),
});

/** Flags of `quire bench`. */
export const BENCH_FLAGS = flagsOf(BenchSchema);
const URL_FLAG = BENCH_FLAGS[0]!;

/** The settings of `quire bench`, checked and frozen. */
export type BenchConfig =
  & Readonly<Omit<z.output<typeof BenchSchema>, "goodput" | "percentiles" | "url">>
  & {
    readonly url: string;
    readonly goodput: readonly string[];
    readonly percentiles: readonly string[];
  };

/**
 * Reads what follows the command `bench`; undefined where its help is asked for.
 *
 * @throws {StartupError} as `parseConfig`, and without a URL.
 */
export function parseBenchConfig(
  args: readonly string[],
  env: Environment,
): BenchConfig | undefined {
  const { asked, positionals, given } = readCommandLine(args, env, { flags: BENCH_FLAGS });
  if (asked !== undefined) return undefined;
  const [argument, surplus] = positionals;
  if (surplus !== undefined) throw unexpectedArgument(surplus);
  if (argument !== undefined) given.set(URL_FLAG, { source: "URL", texts: [argument] });
  const { url, ...values } = checkValues(BenchSchema, given);
  if (url === undefined) {
    throw new StartupError("quire bench needs a server, such as quire bench localhost:8000");
  }
  return deepFreeze({ url, ...values });
}

/** The page that `quire bench --help` prints. */
export function benchHelp(): string {
  return helpText(BENCH_FLAGS, [
    "Quire measures a server of OpenAI's API: time to first token, time between tokens, " +
    "throughput, goodput, and what the prefix cache gave. Every figure is computed as vllm bench " +
    "serve computes it: docs/bench.md.",
    usageOf("bench"),
    ...examplesOf("bench"),
  ]);
}
