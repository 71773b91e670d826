import { z } from "zod";
import { omitUndefined } from "../base/omit_undefined.ts";
import {
  checkValues,
  deepFreeze,
  type Given,
  readCommandLine,
  takeModelArgument,
} from "./command_line.ts";
import { examplesOf, usageOf } from "./command_names.ts";
import {
  checkInt8Activations,
  ConfigSchema,
  ENGINE_SETTINGS,
  type Settings,
} from "./config_schema.ts";
import type { Environment } from "./environment.ts";
import { StartupError } from "./errors.ts";
import { decimalText, type Flag, flagsOf } from "./flags.ts";
import { helpText } from "./help.ts";

const ANSWER = "Answer";
const SERVER = "Another server";

const upTo = (maximum: number) => decimalText.refine((text) => Number(text) <= maximum);

/** The settings of `quire run` and `quire chat`: those of the engine, and of an answer. */
export const ChatSchema = ConfigSchema.pick({
  ...ENGINE_SETTINGS,
  yes: true,
  autotune: true,
  deterministic: true,
  seed: true,
}).extend({
  url: z.string().min(1).optional().meta({
    description: "Server of OpenAI's API to ask, in place of a model in this process",
    group: SERVER,
    value: "URL",
    defaultText: "the model runs in this process",
  }),
  apiKey: z.string().min(1).optional().meta({
    description: "Key that is sent to --url",
    group: SERVER,
    value: "KEY",
    secret: true,
    defaultText: "none",
  }),
  system: z.string().min(1).optional().meta({
    description: "Instructions that stand before the conversation",
    group: ANSWER,
    value: "TEXT",
    defaultText: "none",
    aliases: ["-sys", "--system-prompt"],
  }),
  maxTokens: z.int().min(1).optional().meta({
    description: "Most tokens of an answer",
    group: ANSWER,
    value: "TOKENS",
    defaultText: "what the context leaves over",
    aliases: ["-n", "--n-predict", "--predict"],
  }),
  temperature: upTo(2).optional().meta({
    description: "How freely tokens are drawn, from 0 (the likeliest) to 2",
    group: ANSWER,
    value: "T",
    expected: "a number from 0 to 2",
    defaultText: "the model's own",
    aliases: ["--temp"],
  }),
  topP: upTo(1).optional().meta({
    description: "Share of the likeliest tokens' probability that is drawn from, from 0 to 1",
    group: ANSWER,
    value: "P",
    expected: "a number from 0 to 1",
    defaultText: "the model's own",
  }),
  logFormat: ConfigSchema.shape.logFormat,
  logLevel: ConfigSchema.shape.logLevel.default("error").meta({
    ...ConfigSchema.shape.logLevel.meta() as { description: string; group: string; value: string },
    defaultText: "error",
  }),
});

/** Flags of `quire run` and `quire chat`. */
export const CHAT_FLAGS = flagsOf(ChatSchema);
const MODEL_FLAG = CHAT_FLAGS.find(({ field }) => field === "model")!;

type ChatValues = z.output<typeof ChatSchema>;

/** The settings of an answer, as a request carries them. */
export interface AnswerSettings {
  readonly system?: string;
  /** In OpenAI's names: `max_tokens`, `temperature`, `top_p`, `seed`. */
  readonly fields: Readonly<Record<string, number>>;
}

/** The settings of `quire run` and `quire chat`, checked and frozen. */
export interface ChatConfig {
  /** Where the model runs in this process: as `quire serve` would run it. */
  readonly engine: Settings;
  readonly model?: string;
  readonly url?: string;
  readonly apiKey?: string;
  readonly answer: AnswerSettings;
  /** Arguments that name no model: the prompt. */
  readonly words: readonly string[];
}

/**
 * Reads what follows the command `chat`; undefined where its help is asked for.
 *
 * @throws {StartupError} as `parseConfig`.
 */
export function parseChatConfig(args: readonly string[], env: Environment): ChatConfig | undefined {
  const line = readCommandLine(args, env, { flags: CHAT_FLAGS });
  if (line.asked !== undefined) return undefined;
  const [model, surplus] = line.positionals;
  if (surplus !== undefined) {
    throw new StartupError(
      `Unexpected argument ${JSON.stringify(surplus)}: quire run answers one prompt, and quire ` +
        "chat takes a model alone",
    );
  }
  return toConfig(line.given, model, []);
}

/**
 * Reads what follows the command `run`; undefined where its help is asked for. Without a URL the
 * first of several arguments is the model; a single argument is a model only where text is piped in
 * as well, and otherwise the prompt.
 *
 * @throws {StartupError} as `parseConfig`.
 */
export function parseRunConfig(
  args: readonly string[],
  env: Environment,
  { hasInput }: { readonly hasInput: boolean },
): ChatConfig | undefined {
  const line = readCommandLine(args, env, { flags: CHAT_FLAGS });
  if (line.asked !== undefined) return undefined;
  const names = line.given.has(MODEL_FLAG) ||
    line.given.keys().some(({ field }) => field === "url");
  const [first, ...rest] = line.positionals;
  const isModel = !names && first !== undefined && (rest.length > 0 || hasInput);
  return isModel
    ? toConfig(line.given, first, rest)
    : toConfig(line.given, undefined, line.positionals);
}

function toConfig(
  given: Map<Flag, Given>,
  model: string | undefined,
  words: readonly string[],
): ChatConfig {
  if (model !== undefined) takeModelArgument({ positionals: [model], given }, MODEL_FLAG);
  const { url, apiKey, system, maxTokens, temperature, topP, ...engine } = checkValues(
    ChatSchema,
    given,
  );
  checkInt8Activations(engine);
  // One conversation at a time, which nothing has to outlive.
  const settings = { ...ConfigSchema.parse({}), ...engine, prefixStore: "none" };
  return deepFreeze({
    engine: settings,
    ...omitUndefined({ model: engine.model, url, apiKey }),
    answer: answerOf({ system, maxTokens, temperature, topP, seed: engine.seed }),
    words: [...words],
  });
}

function answerOf(
  { system, maxTokens, temperature, topP, seed }: Partial<ChatValues>,
): AnswerSettings {
  return {
    ...omitUndefined({ system }),
    fields: omitUndefined({
      max_tokens: maxTokens,
      temperature: temperature === undefined ? undefined : Number(temperature),
      top_p: topP === undefined ? undefined : Number(topP),
      seed,
    }),
  };
}

/** The page that `quire chat --help` prints. */
export function chatHelp(): string {
  return helpText(CHAT_FLAGS, [
    "Quire talks in the terminal: with a model in this process, or with any server of OpenAI's " +
    "API. /help lists what can be said to the program, Ctrl-C stops an answer.",
    usageOf("chat"),
    ...examplesOf("chat"),
  ]);
}

/** The page that `quire run --help` prints. */
export function runHelp(): string {
  return helpText(CHAT_FLAGS, [
    "Quire answers one prompt on standard output, and ends. What is piped in stands below the " +
    "prompt. A single argument is the prompt; where text is piped in as well, it is the model.",
    usageOf("run"),
    ...examplesOf("run"),
  ]);
}
