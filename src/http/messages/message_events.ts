import { createHash } from "node:crypto";
import type { ErrorData } from "../../core/errors.ts";
import type { Choice } from "../answer/choice_writer.ts";
import { type ChatPart, ChatPartReader } from "../chat/chat_parts.ts";
import { type AnswerEvents, type ResponseWriter, type RunningJob, usageOf } from "../answer/job.ts";
import { givenUp } from "../refusals.ts";
import { messageErrorBody } from "./message_errors.ts";

/** A block of a message's content. */
type ContentBlock =
  | { readonly type: "text"; readonly text: string; readonly citations: null }
  | { readonly type: "thinking"; readonly thinking: string; readonly signature: string }
  | {
    readonly type: "tool_use";
    readonly id: string;
    readonly name: string;
    readonly input: unknown;
    readonly caller: { readonly type: "direct" };
  };

/** What the events of a message take from its request. */
export interface MessageOptions {
  readonly requestId: string;
  /** The request's own `max_tokens`, which the context may have undercut. */
  readonly maxTokens: number;
}

const PING = { type: "ping" };

/** The answers of `/v1/messages`: one message, or the events that build it. */
export function messagesWriter(options: MessageOptions): ResponseWriter {
  return {
    style: { namesEvents: true, endsWithDone: false, keepAlive: PING },
    takesDeltas: true,
    whole: (running, choices) => {
      const events = new MessageEvents(running, options);
      events.next(choices);
      events.end();
      return events.message;
    },
    events: (running) => new MessageEvents(running, options),
  };
}

/**
 * Builds a message block by block:
 *
 *     message_start, ping, (content_block_start, content_block_delta+, content_block_stop)*,
 *     message_delta, message_stop
 *
 * The message starts with the first token, when it is known how much of the prompt was cached. A
 * whole message is what its stream would have built.
 */
export class MessageEvents implements AnswerEvents {
  readonly #running: RunningJob;
  readonly #options: MessageOptions;
  readonly #reader = new ChatPartReader();
  readonly #content: ContentBlock[] = [];
  #open: { readonly type: "text" | "thinking"; text: string } | undefined;
  #hasStarted = false;
  #end: Extract<ChatPart, { type: "end" }> | undefined;

  constructor(running: RunningJob, options: MessageOptions) {
    this.#running = running;
    this.#options = options;
  }

  /** The message so far. */
  get message(): object {
    const { id, model } = this.#running.envelope;
    const isOver = this.#end !== undefined;
    return {
      id,
      ...{ type: "message", role: "assistant", model },
      content: this.#content,
      ...this.#stop(),
      ...{ stop_details: null, container: null, diagnostics: null },
      usage: { ...this.#usage(), service_tier: "standard" },
      ...(isOver ? this.#running.explanation() : {}),
    };
  }

  begin(): object[] {
    return [];
  }

  next(choices: readonly Choice[]): object[] {
    const start = this.#hasStarted ? [] : [{ type: "message_start", message: this.message }, PING];
    this.#hasStarted = true;
    const parts = choices.flatMap((choice) => this.#reader.read(choice));
    return [...start, ...parts.flatMap((part) => this.#take(part))];
  }

  end(): object[] {
    if (this.#end?.reason === "abort") throw givenUp();
    const closing = this.#close();
    const delta = { ...this.#stop(), stop_details: null, container: null };
    const explanation = this.#running.explanation();
    return [
      ...closing,
      { type: "message_delta", delta, usage: this.#usage(), ...explanation },
      { type: "message_stop" },
    ];
  }

  fail(error: ErrorData): object[] {
    return [messageErrorBody(error, this.#options.requestId)];
  }

  #take(part: ChatPart): object[] {
    switch (part.type) {
      case "thought":
        return this.#say("thinking", part.text);
      case "text":
        return this.#say("text", part.text);
      case "call":
        return [...this.#close(), ...this.#call(part)];
      case "end":
        this.#end = part;
        return [];
    }
  }

  #say(type: "text" | "thinking", text: string): object[] {
    const isOpen = this.#open?.type === type;
    const begin = isOpen ? [] : [...this.#close(), this.#start(emptyBlock(type))];
    const open = this.#open ??= { type, text: "" };
    open.text += text;
    const delta = type === "text"
      ? { type: "text_delta", text }
      : { type: "thinking_delta", thinking: text };
    return [...begin, this.#delta(delta)];
  }

  #close(): object[] {
    if (this.#open === undefined) return [];
    const { type, text } = this.#open;
    this.#open = undefined;
    if (type === "text") return [this.#stopBlock({ type, text, citations: null })];
    const signature = signatureOf(text);
    return [
      this.#delta({ type: "signature_delta", signature }),
      this.#stopBlock({ type, thinking: text, signature }),
    ];
  }

  #call({ id, name, arguments: given }: Extract<ChatPart, { type: "call" }>): object[] {
    const input = parseInput(given);
    // What max_tokens has cut off is no call.
    if (input === undefined) return [];
    const block = { type: "tool_use", id, name, input: {}, caller: { type: "direct" } } as const;
    return [
      this.#start(block),
      this.#delta({ type: "input_json_delta", partial_json: given }),
      this.#stopBlock({ ...block, input }),
    ];
  }

  #start(content_block: ContentBlock): object {
    return { type: "content_block_start", index: this.#content.length, content_block };
  }

  #delta(delta: object): object {
    return { type: "content_block_delta", index: this.#content.length, delta };
  }

  #stopBlock(block: ContentBlock): object {
    const index = this.#content.length;
    this.#content.push(block);
    return { type: "content_block_stop", index };
  }

  #stop() {
    if (this.#end === undefined) return { stop_reason: null, stop_sequence: null };
    const { reason, stopReason } = this.#end;
    if (reason === "length") {
      const isCut = this.#running.job.sequences[0]!.params.maxTokens < this.#options.maxTokens;
      const stop_reason = isCut ? "model_context_window_exceeded" : "max_tokens";
      return { stop_reason, stop_sequence: null };
    }
    if (this.#content.some(({ type }) => type === "tool_use")) {
      return { stop_reason: "tool_use", stop_sequence: null };
    }
    return typeof stopReason === "string"
      ? { stop_reason: "stop_sequence", stop_sequence: stopReason }
      : { stop_reason: "end_turn", stop_sequence: null };
  }

  #usage() {
    const usage = usageOf(this.#running);
    const { cached_tokens } = usage.prompt_tokens_details;
    const details = usage.completion_tokens_details as
      | { readonly reasoning_tokens: number }
      | undefined;
    return {
      // As Anthropic counts: the prompt's tokens that were not in the cache.
      input_tokens: usage.prompt_tokens - cached_tokens,
      cache_read_input_tokens: cached_tokens,
      cache_creation_input_tokens: 0,
      output_tokens: usage.completion_tokens,
      output_tokens_details: { thinking_tokens: details?.reasoning_tokens ?? 0 },
      server_tool_use: null,
    };
  }
}

function emptyBlock(type: "text" | "thinking"): ContentBlock {
  return type === "text"
    ? { type, text: "", citations: null }
    : { type, thinking: "", signature: "" };
}

/** A digest of the thought: clients only send thoughts back that have a signature. */
function signatureOf(thought: string): string {
  return createHash("sha256").update(thought).digest("base64");
}

function parseInput(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
