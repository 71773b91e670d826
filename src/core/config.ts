import { parseArgs } from "node:util";
import type { z } from "zod";
import { nearestName } from "../base/edit_distance.ts";
import { ConfigSchema } from "./config_schema.ts";
import type { EngineConfig } from "./engine_config.ts";
import { StartupError } from "./errors.ts";
import { type Flag, flagsOf, readFlagText, refuseFlagText } from "./flags.ts";
import { helpText } from "./help.ts";

/** What the process is asked to do. */
export type Command = "serve" | "help" | "version";

const COMMANDS: readonly Command[] = ["serve", "help", "version"];
const FLAGS = flagsOf(ConfigSchema);
const FLAG_BY_NAME = new Map(FLAGS.map((flag) => [flag.name, flag]));

/** vLLM's flags that WebGPU cannot honour, with the reason and what to use instead. */
const ANSWERED: ReadonlyMap<string, string> = new Map([
  [
    "gpu-memory-utilization",
    "--gpu-memory-utilization cannot be honoured: WebGPU does not tell how much memory a GPU has. " +
    "Give the size of the KV pool instead, such as --kv-cache-memory-bytes 2GiB",
  ],
]);

/** Environment variables by name; `Deno.env.toObject()` or a test's own. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The texts given for one flag, and where they stood. */
interface Given {
  readonly source: string;
  readonly texts: string[];
}

/** A command and every setting it runs with, checked and deeply frozen. */
export type Config =
  & Readonly<Omit<z.output<typeof ConfigSchema>, "servedModelName" | "apiKey">>
  & {
    readonly command: Command;
    readonly servedModelName: readonly string[];
    readonly apiKey: readonly string[];
  };

/**
 * Reads the command line and its environment twins into a frozen configuration. A flag beats its
 * variable; an empty variable counts as absent. `serve` is meant where no command is given.
 *
 * @throws {StartupError} on an unknown command or flag (with the nearest name), and on a value
 * outside its bounds (with flag, bounds and value).
 */
export function parseConfig(args: readonly string[], env: Environment): Config {
  const { positionals, flags, asked } = readArguments(args);
  const command = asked ?? readCommand(positionals);
  if (command !== "serve") return deepFreeze({ command, ...ConfigSchema.parse({}) });

  const given = new Map<Flag, Given>();
  for (const flag of FLAGS) {
    const text = env[flag.environment];
    if (text !== undefined && text !== "") {
      given.set(flag, { source: flag.environment, texts: [text] });
    }
  }
  for (const [flag, texts] of flags) given.set(flag, { source: `--${flag.name}`, texts });
  takeModelArgument(positionals, given, flags);
  return deepFreeze({ command, ...checkValues(given) });
}

/** The page that the command `help` prints. */
export function configHelp(): string {
  return helpText(FLAGS);
}

/** The part of the configuration that the engine isolate needs, for a model whose files are local. */
export function toEngineConfig(config: Config, modelDir: string): EngineConfig {
  return {
    modelDir,
    device: config.device,
    blockSize: config.blockSize,
    kvCacheDtype: config.kvCacheDtype === "auto" ? "f16" : config.kvCacheDtype,
    enablePrefixCaching: true,
    maxNumSeqs: config.maxNumSeqs,
    maxNumBatchedTokens: config.maxNumBatchedTokens,
    maxNumWaitingSeqs: config.maxQueuedRequests,
    ...(config.numGpuBlocksOverride === undefined
      ? {}
      : { numBlocksOverride: config.numGpuBlocksOverride }),
    ...(config.kvCacheMemoryBytes === undefined
      ? {}
      : { kvCacheMemoryBytes: config.kvCacheMemoryBytes }),
    ...(config.maxModelLen === undefined ? {} : { maxModelLen: config.maxModelLen }),
  };
}

interface Arguments {
  readonly positionals: string[];
  readonly flags: Map<Flag, string[]>;
  /** A command given as a flag: `--help`, `--version`. */
  readonly asked?: Command;
}

function readArguments(args: readonly string[]): Arguments {
  const { tokens } = parseArgs({
    args: [...args],
    options: {
      ...Object.fromEntries(FLAGS.map(({ name }) => [name, { type: "string", multiple: true }])),
      ...Object.fromEntries([...ANSWERED.keys()].map((name) => [name, { type: "string" }])),
      help: { type: "boolean", short: "h" },
      version: { type: "boolean", short: "V" },
    },
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const positionals: string[] = [];
  const flags = new Map<Flag, string[]>();
  let asked: Command | undefined;
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    if (token.name === "help" || token.name === "version") asked ??= token.name;
    else {
      const flag = knownFlag(token.name, token.rawName);
      const texts = flags.get(flag) ?? [];
      texts.push(flagText(flag, token.value, token.inlineValue));
      flags.set(flag, texts);
    }
  }
  return { positionals, flags, ...(asked === undefined ? {} : { asked }) };
}

function knownFlag(name: string, rawName: string): Flag {
  const answer = ANSWERED.get(name);
  if (answer !== undefined) throw new StartupError(answer);
  const flag = FLAG_BY_NAME.get(name);
  if (flag !== undefined) return flag;
  const nearest = nearestName(name, [...FLAG_BY_NAME.keys(), "help", "version"]);
  const hint = nearest === undefined ? "see --help" : `did you mean --${nearest}?`;
  throw new StartupError(`Unknown flag ${rawName}: ${hint}`);
}

/** The parser takes whatever follows as the value; another flag there means that it was forgotten. */
function flagText(flag: Flag, value: string | undefined, isInline: boolean | undefined): string {
  if (value === undefined || (isInline !== true && value.startsWith("--"))) {
    throw new StartupError(`--${flag.name} needs a value: ${flag.expected}`);
  }
  return value;
}

/** Takes the command off the front of the positional arguments. */
function readCommand(positionals: string[]): Command {
  const name = positionals.shift() ?? "serve";
  const command = COMMANDS.find((known) => known === name);
  if (command !== undefined) return command;
  const nearest = nearestName(name, COMMANDS);
  const hint = nearest === undefined ? `one of ${COMMANDS.join(", ")}` : `did you mean ${nearest}?`;
  throw new StartupError(`Unknown command ${JSON.stringify(name)}: ${hint}`);
}

/** `serve MODEL` means `serve --model MODEL`. */
function takeModelArgument(
  positionals: string[],
  given: Map<Flag, Given>,
  flags: ReadonlyMap<Flag, string[]>,
): void {
  const flag = FLAG_BY_NAME.get("model")!;
  const [model, surplus] = positionals;
  if (model === undefined) return;
  if (surplus !== undefined || flags.has(flag)) {
    throw new StartupError(`Unexpected argument ${JSON.stringify(surplus ?? model)}: see --help`);
  }
  given.set(flag, { source: "MODEL", texts: [model] });
}

function checkValues(given: ReadonlyMap<Flag, Given>): z.output<typeof ConfigSchema> {
  const values = [...given].map(([flag, { texts }]) => [flag.field, readFlagText(flag, texts)]);
  const result = ConfigSchema.safeParse(Object.fromEntries(values));
  if (!result.success) {
    const field = result.error.issues[0]?.path[0];
    for (const [flag, { source, texts }] of given) {
      if (flag.field === field) throw refuseFlagText(flag, source, texts);
    }
    throw result.error;
  }
  const { maxNumBatchedTokens, maxNumSeqs } = result.data;
  if (maxNumBatchedTokens < maxNumSeqs) {
    throw new StartupError(
      `--max-num-batched-tokens must be at least --max-num-seqs (${maxNumSeqs}), ` +
        `got ${maxNumBatchedTokens}: each running sequence needs one token per step`,
    );
  }
  return result.data;
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === "object" && part !== null) deepFreeze(part);
  }
  return Object.freeze(value);
}
