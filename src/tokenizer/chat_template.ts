import { z } from "zod";
import { EngineUnavailableError, RequestError, StartupError } from "../core/errors.ts";
import {
  modelFile,
  type ModelFiles,
  parseModelJson,
  readModelJson,
  readModelText,
} from "../core/model_json.ts";
import { type Placeholders, withoutPlaceholders } from "./control_tokens.ts";
import type {
  ConversationOutcome,
  RenderRequest,
  TemplateMessage,
  TemplateSource,
} from "./conversation_renderer.ts";
import { type HostProblem, WorkerHost } from "./worker_host.ts";
import { WorkerLanes } from "./worker_lanes.ts";

export type { TemplateMessage } from "./conversation_renderer.ts";

/** Where the rendered conversation ends. */
export interface ChatOptions {
  /** Ends with the start of the assistant's turn; the default, unless the last turn goes on. */
  readonly addGenerationPrompt?: boolean;
  /** Ends with the last message's content, left open so that the model goes on with it. */
  readonly continueFinalMessage?: boolean;
  /** Tools as the request has them. */
  readonly tools?: readonly unknown[];
  /** Further variables, for those that a template reads. */
  readonly variables?: Readonly<Record<string, boolean | string>>;
}

/** Settings of a {@link ChatTemplate}; the defaults are meant for serving. */
export interface ChatTemplateOptions {
  /** Time for one render, ms. */
  readonly deadlineMs?: number;
  /** Longest rendered conversation, UTF-16 code units. */
  readonly maxChars?: number;
  /** The time that templates see, ms since 1970. */
  readonly now?: () => number;
}

const DEADLINE_MS = 2000;
const MAX_CHARS = 4 * 1024 * 1024;
const MAX_TEMPLATE_BYTES = 1024 * 1024;

/** Longest part of a template's own error message that is repeated, in characters. */
const MAX_REASON_CHARS = 500;

const TEMPLATE_FILE = "chat_template.jinja";
const CONFIG_FILE = "tokenizer_config.json";

const PROCESSOR_FILE = "chat_template.json";

const ProcessorJson = z.object({ chat_template: z.string().max(MAX_TEMPLATE_BYTES).nullish() });
const ConfigJson = z.object({
  chat_template: z.union([
    z.string().max(MAX_TEMPLATE_BYTES),
    z.array(z.object({ name: z.string(), template: z.string().max(MAX_TEMPLATE_BYTES) })),
  ]).nullish(),
});

/** A rendered conversation with placeholders for some characters. */
export interface MaskedText {
  readonly text: string;
  readonly placeholders: Placeholders;
}

type Lanes = WorkerLanes<TemplateSource, RenderRequest, ConversationOutcome>;
type Problem = HostProblem | Exclude<ConversationOutcome, { type: "rendered" }>;

/**
 * Appended to the message to be continued, to find its end in the rendered text; its own words
 * might occur again in the template's text. The white space after it shows whether the template
 * trims contents.
 */
const END_MARK = "\u{f8ff}end-of-message\u{f8ff}";
const TRIM_PROBE = "\t \t";

/** A template and the name of the file it came from. */
interface FoundTemplate {
  readonly source: string;
  readonly file: string;
}

/**
 * A model's way of writing a conversation as one text, by its own Jinja template.
 *
 * Rendering happens in Workers, one for short conversations and one for long ones, each one at a
 * time and within a deadline. Templates see `messages`, `add_generation_prompt`, `bos_token`,
 * `eos_token`, `tools` where a request has some, and `documents` as none.
 */
export class ChatTemplate {
  /** In Jinja; undefined for a model without a template. */
  readonly source: string | undefined;
  readonly #lanes: Lanes | undefined;
  readonly #tokens: Readonly<Record<string, string>>;
  readonly #options: Required<Pick<ChatTemplateOptions, "deadlineMs" | "maxChars" | "now">>;

  private constructor(
    source: string | undefined,
    lanes: Lanes | undefined,
    tokens: Readonly<Record<string, string>>,
    options: ChatTemplateOptions,
  ) {
    this.source = source;
    this.#lanes = lanes;
    this.#tokens = tokens;
    this.#options = {
      deadlineMs: options.deadlineMs ?? DEADLINE_MS,
      maxChars: options.maxChars ?? MAX_CHARS,
      now: options.now ?? Date.now,
    };
  }

  /**
   * Loads the template of a model: `chat_template.jinja`, or else the one in
   * `tokenizer_config.json` (of several, the one named "default") or `chat_template.json`. A model
   * without one can be loaded, but not chatted with.
   *
   * @param tokens special tokens that templates name, and the texts of control tokens.
   * @throws {StartupError} naming the file, when the template is not valid Jinja.
   */
  static async load(
    files: ModelFiles,
    tokens: {
      readonly bosToken?: string | undefined;
      readonly eosToken?: string | undefined;
      readonly controlTokens?: readonly string[];
    },
    options: ChatTemplateOptions = {},
  ): Promise<ChatTemplate> {
    const { bosToken, eosToken, controlTokens = [] } = tokens;
    const named = {
      ...(bosToken === undefined ? {} : { bos_token: bosToken }),
      ...(eosToken === undefined ? {} : { eos_token: eosToken }),
    };
    const found = findTemplate(files);
    if (found === undefined) return new ChatTemplate(undefined, undefined, named, options);
    const load = { source: found.source, controlTokens };
    const lanes: Lanes = new WorkerLanes(() => new WorkerHost(load, { spawn: spawnWorker }));
    const problem = await lanes.load();
    if (problem !== undefined) {
      lanes.close();
      throw new StartupError(`Cannot use the chat template in ${found.file}: ${problem}`);
    }
    return new ChatTemplate(found.source, lanes, named, options);
  }

  /**
   * The conversation as one text, special tokens included. In it, the template's control tokens
   * look like those spelled in a message; {@link ChatTemplate.renderMasked} distinguishes them.
   *
   * @throws {RequestError} when the model has no template, or the template refuses these messages,
   * fails on them, takes too long or renders too long a text.
   */
  async render(messages: readonly TemplateMessage[], options: ChatOptions = {}): Promise<string> {
    const { text, placeholders } = await this.renderMasked(messages, options);
    return withoutPlaceholders(text, placeholders);
  }

  /**
   * As {@link ChatTemplate.render}, with placeholders in the control tokens that messages spell:
   * the others are the template's own.
   */
  async renderMasked(
    messages: readonly TemplateMessage[],
    options: ChatOptions = {},
  ): Promise<MaskedText> {
    const { addGenerationPrompt, continueFinalMessage = false } = options;
    if (addGenerationPrompt && continueFinalMessage) {
      throw new RequestError(
        "add_generation_prompt and continue_final_message cannot both be true",
        { param: "continue_final_message" },
      );
    }
    if (!continueFinalMessage) {
      return await this.#render(messages, options, addGenerationPrompt ?? true);
    }
    const { text, placeholders } = await this.#render(withEndMark(messages), options, false);
    return { text: cutAtEndMark(text), placeholders };
  }

  /** Ends the Workers; renders under way fail. Idempotent. */
  close(): void {
    this.#lanes?.close();
  }

  async #render(
    messages: readonly TemplateMessage[],
    { tools, variables }: ChatOptions,
    addGenerationPrompt: boolean,
  ): Promise<MaskedText> {
    if (this.#lanes === undefined) {
      throw new RequestError(
        "The model has no chat template: use /v1/completions with a prompt",
        { code: "no_chat_template" },
      );
    }
    const { deadlineMs, maxChars, now } = this.#options;
    const request = {
      messages,
      ...(tools === undefined ? {} : { tools }),
      variables: {
        ...variables,
        add_generation_prompt: addGenerationPrompt,
        ...this.#tokens,
        tools: null,
        documents: null,
      },
      limits: { deadlineMs, maxChars },
      nowMs: now(),
    };
    const numChars = messages.reduce((sum, { content }) => sum + content.length, 0) +
      (tools === undefined ? 0 : JSON.stringify(tools).length);
    const outcome = await this.#lanes.run(request, numChars);
    if (outcome.type === "rendered") return outcome;
    throw toError(outcome);
  }
}

function toError({ type, message }: Problem): Error {
  if (type === "stopping") return new EngineUnavailableError(message);
  if (type === "busy") {
    return new RequestError(message, { status: 429, type: "rate_limit_error", code: "overloaded" });
  }
  if (type === "refused") {
    return new RequestError(message, { param: "messages", code: "invalid_value" });
  }
  const reason = message.slice(0, MAX_REASON_CHARS);
  const sentence = {
    raised: `refuses the messages: ${reason}`,
    limit: `${reason} for these messages`,
    failed: `cannot render the messages: ${reason}`,
  }[type];
  return new RequestError(`The model's chat template ${sentence}`, {
    param: "messages",
    code: `chat_template_${type}`,
  });
}

function findTemplate(files: ModelFiles): FoundTemplate | undefined {
  const source = readModelText(files, TEMPLATE_FILE, MAX_TEMPLATE_BYTES);
  if (source !== undefined) return { source, file: modelFile(files, TEMPLATE_FILE) };
  const file = modelFile(files, CONFIG_FILE);
  const json = readModelJson(files, CONFIG_FILE) ?? {};
  const { chat_template: template } = parseModelJson(ConfigJson, json, file);
  if (typeof template === "string") return { source: template, file };
  const named = template?.find(({ name }) => name === "default");
  return named === undefined ? templateOfProcessor(files) : { source: named.template, file };
}

/** Where checkpoints of several modalities have it, from before `chat_template.jinja`. */
function templateOfProcessor(files: ModelFiles): FoundTemplate | undefined {
  const file = modelFile(files, PROCESSOR_FILE);
  const json = readModelJson(files, PROCESSOR_FILE) ?? {};
  const { chat_template: source } = parseModelJson(ProcessorJson, json, file);
  return source === null || source === undefined ? undefined : { source, file };
}

function withEndMark(messages: readonly TemplateMessage[]): TemplateMessage[] {
  const last = messages.at(-1);
  if (last === undefined) {
    throw new RequestError("messages is empty: there is no final message to continue", {
      param: "messages",
    });
  }
  return [...messages.slice(0, -1), { ...last, content: last.content + END_MARK + TRIM_PROBE }];
}

function cutAtEndMark(rendered: string): string {
  const end = rendered.lastIndexOf(END_MARK);
  if (end === -1) {
    throw new RequestError(
      "The model's chat template does not show the final message, so it cannot be continued",
      { param: "continue_final_message" },
    );
  }
  const text = rendered.slice(0, end);
  const keepsSpace = rendered.startsWith(TRIM_PROBE, end + END_MARK.length);
  return keepsSpace ? text : text.trimEnd();
}

/** The Worker has the server's permissions: restricting them needs an unstable flag. */
function spawnWorker(): Worker {
  return new Worker(new URL("./chat_template_worker.ts", import.meta.url), { type: "module" });
}
