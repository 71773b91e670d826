import { parseArgs } from "node:util";
import type { z } from "zod";
import { nearestName } from "../base/edit_distance.ts";
import type { Environment } from "./environment.ts";
import { StartupError } from "./errors.ts";
import { type Flag, readFlagText, refuseFlagText } from "./flags.ts";

/** The texts given for one flag, and their source: a flag, a variable or an argument. */
export interface Given {
  readonly source: string;
  readonly texts: readonly string[];
}

/** A parsed command line, its values not yet checked. */
export interface CommandLine {
  /** Positional arguments, in order. */
  readonly positionals: string[];
  /** By flag; a flag on the command line beats its variable, an empty variable counts as absent. */
  readonly given: Map<Flag, Given>;
  /** A command given as a flag: `--help`, `--version`. */
  readonly asked?: "help" | "version";
}

/** A flag of another program that needs no twin here. */
export interface IgnoredFlag {
  readonly hasValue: boolean;
  /** Why it changes nothing: a clause. */
  readonly why: string;
}

/** What a command accepts. */
export interface CommandFlags {
  readonly flags: readonly Flag[];
  /** Flags of other programs that are refused, each with the reason. */
  readonly answered?: ReadonlyMap<string, string>;
  /** Flags of other programs that are taken and change nothing, by their spellings. */
  readonly ignored?: ReadonlyMap<string, IgnoredFlag>;
  /** Is told of each flag that changes nothing. */
  readonly note?: (line: string) => void;
}

/**
 * Parses the arguments of one command and the environment twins of its flags.
 *
 * @throws {StartupError} on an unknown flag (with the nearest name) and on a flag without its
 * value.
 */
export function readCommandLine(
  args: readonly string[],
  env: Environment,
  command: CommandFlags,
): CommandLine {
  const given = new Map<Flag, Given>();
  for (const flag of command.flags) {
    const text = env[flag.environment];
    if (text !== undefined && text !== "") {
      given.set(flag, { source: flag.environment, texts: [text] });
    }
  }
  const positionals: string[] = [];
  const texts = new Map<Flag, string[]>();
  let asked: CommandLine["asked"];
  for (const token of tokensOf(canonicalArgs(args, command), command)) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    if (token.name === "help" || token.name === "version") asked ??= token.name;
    else {
      const [flag, text] = readFlag(token, command);
      texts.set(flag, [...texts.get(flag) ?? [], text]);
    }
  }
  for (const [flag, ofFlag] of texts) given.set(flag, { source: `--${flag.name}`, texts: ofFlag });
  return { positionals, given, ...(asked === undefined ? {} : { asked }) };
}

/**
 * The arguments with every other spelling replaced by the flag's name, and without flags that
 * change nothing. Single dashes before several letters are llama.cpp's way, which no parser knows.
 */
function canonicalArgs(args: readonly string[], command: CommandFlags): string[] {
  const names = new Map(
    command.flags.flatMap(({ name, aliases = [] }) => aliases.map((alias) => [alias, name])),
  );
  const takesValue = new Set(
    command.flags.filter(({ kind }) => kind !== "switch").map(({ name }) => `--${name}`),
  );
  const kept: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "--") return [...kept, ...args.slice(i)];
    const [spelling = "", ...value] = arg.split("=");
    const ignored = command.ignored?.get(spelling);
    const name = names.get(spelling);
    if (ignored !== undefined) {
      if (ignored.hasValue && value.length === 0) i++;
      command.note?.(`${spelling} changes nothing here: ${ignored.why}`);
      continue;
    }
    const flag = name === undefined ? arg : [`--${name}`, ...value].join("=");
    kept.push(flag);
    // What is a flag's value is no spelling, even where it looks like one.
    if (takesValue.has(flag) && i + 1 < args.length) kept.push(args[++i]!);
  }
  return kept;
}

type Token =
  | { kind: "positional"; value: string }
  | { kind: "option-terminator" }
  | OptionToken;

interface OptionToken {
  readonly kind: "option";
  readonly name: string;
  /** As written, dashes included. */
  readonly rawName: string;
  readonly value: string | undefined;
  readonly inlineValue: boolean | undefined;
}

function tokensOf(args: readonly string[], { flags, answered }: CommandFlags): readonly Token[] {
  const typeOf = ({ kind }: Flag) => kind === "switch" ? "boolean" : "string";
  return parseArgs({
    args: [...args],
    options: {
      ...Object.fromEntries(
        flags.map((flag) => [flag.name, { type: typeOf(flag), multiple: true }] as const),
      ),
      ...Object.fromEntries(
        [...answered?.keys() ?? []].map((name) => [name, { type: "string" }] as const),
      ),
      help: { type: "boolean", short: "h" },
      version: { type: "boolean", short: "V" },
    },
    strict: false,
    allowPositionals: true,
    tokens: true,
  }).tokens;
}

/** The flag that an argument names, and its value's text; `--no-NAME` turns a switch off. */
function readFlag(token: OptionToken, { flags, answered }: CommandFlags): [Flag, string] {
  const { name, rawName, value, inlineValue } = token;
  const answer = answered?.get(name);
  if (answer !== undefined) throw new StartupError(answer);
  const flag = flags.find((known) => known.name === name);
  if (flag !== undefined) return [flag, flagText(flag, value, inlineValue)];
  const negated = flags.find((known) => known.kind === "switch" && `no-${known.name}` === name);
  if (negated !== undefined && value === undefined) return [negated, "false"];
  const nearest = nearestName(name, [...flags.map((known) => known.name), "help", "version"]);
  const hint = nearest === undefined ? "see --help" : `did you mean --${nearest}?`;
  throw new StartupError(`Unknown flag ${rawName}: ${hint}`);
}

/**
 * The parser takes whatever follows as the value; another flag there means that it was forgotten.
 */
function flagText(flag: Flag, value: string | undefined, isInline: boolean | undefined): string {
  if (flag.kind === "switch") return value ?? "true";
  if (value === undefined || (isInline !== true && value.startsWith("--"))) {
    throw new StartupError(`--${flag.name} needs a value: ${flag.expected}`);
  }
  return value;
}

/**
 * Takes `COMMAND MODEL` for `COMMAND --model MODEL`, where a model stands among the arguments.
 *
 * @throws {StartupError} on a second argument, and on a model named in both ways.
 */
export function takeModelArgument({ positionals, given }: CommandLine, model: Flag): void {
  const [name, surplus] = positionals;
  if (name === undefined) return;
  if (surplus !== undefined || given.get(model)?.source === `--${model.name}`) {
    throw unexpectedArgument(surplus ?? name);
  }
  given.set(model, { source: "MODEL", texts: [name] });
}

/** The refusal of an argument that a command does not take. */
export function unexpectedArgument(text: string): StartupError {
  return new StartupError(`Unexpected argument ${JSON.stringify(text)}: see --help`);
}

/**
 * The values of a command line as `schema` understands them, defaults filled in.
 *
 * @throws {StartupError} on a value outside its bounds, with flag, bounds and value.
 */
export function checkValues<S extends z.ZodObject>(
  schema: S,
  given: ReadonlyMap<Flag, Given>,
): z.output<S> {
  const values = [...given].map(([flag, { texts }]) => [flag.field, readFlagText(flag, texts)]);
  const result = schema.safeParse(Object.fromEntries(values));
  if (result.success) return result.data;
  const field = result.error.issues[0]?.path[0];
  for (const [flag, { source, texts }] of given) {
    if (flag.field === field) throw refuseFlagText(flag, source, texts);
  }
  throw result.error;
}

/** Makes a configuration read-only, its lists and records included. */
export function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === "object" && part !== null) deepFreeze(part);
  }
  return Object.freeze(value);
}
