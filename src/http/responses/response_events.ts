import type { ErrorData } from "../../core/errors.ts";
import type { Choice } from "../answer/choice_writer.ts";
import { type ChatPart, ChatPartReader } from "../chat/chat_parts.ts";
import type { AnswerEvents, ResponseWriter, RunningJob } from "../answer/job.ts";
import { newId } from "../answer/new_id.ts";
import { givenUp } from "../refusals.ts";
import {
  callItem,
  type ItemStatus,
  MESSAGE,
  type OutputItem,
  REASONING,
  SUMMARY,
  type TextKind,
} from "./response_items.ts";
import { responseObject, type ResponseProgress, summaryOf } from "./response_object.ts";
import { type FunctionName, namespacedOf } from "./response_tools.ts";
import type { ResponsesRequest } from "./responses_schema.ts";

/** An item whose text still comes. */
interface OpenItem {
  readonly kind: TextKind;
  readonly id: string;
  text: string;
}

/** The answers of `/v1/responses`: one response, or the events that build it. */
export function responsesWriter(request: ResponsesRequest): ResponseWriter {
  return {
    style: { namesEvents: true, endsWithDone: false },
    takesDeltas: true,
    whole: (running, choices) => {
      const events = new ResponseEvents(running, request);
      events.begin();
      events.next(choices);
      events.end();
      return events.response;
    },
    events: (running) => new ResponseEvents(running, request),
  };
}

/**
 * Builds a response part by part:
 *
 *     created, in_progress, (output_item.added ... output_item.done)*, completed
 *
 * or `incomplete` or `failed` in the end. Each item is done before the next is added. A whole
 * response is what its stream would have built.
 */
export class ResponseEvents implements AnswerEvents {
  readonly #running: RunningJob;
  readonly #request: ResponsesRequest;
  readonly #thoughts: TextKind;
  readonly #namespaced: ReadonlyMap<string, FunctionName>;
  readonly #reader = new ChatPartReader();
  readonly #output: OutputItem[] = [];
  #open: OpenItem | undefined;
  #reason = "stop";
  #sequence = 0;
  #response: object = {};

  constructor(running: RunningJob, request: ResponsesRequest) {
    this.#running = running;
    this.#request = request;
    this.#namespaced = namespacedOf(request.tools);
    this.#thoughts = summaryOf(request) === undefined ? REASONING : SUMMARY;
  }

  /** The response as the last event that carries one has it. */
  get response(): object {
    return this.#response;
  }

  begin(): object[] {
    const progress = { status: "in_progress", output: [] } as const;
    return ["response.created", "response.in_progress"].map((type) => this.#whole(type, progress));
  }

  next(choices: readonly Choice[]): object[] {
    return choices.flatMap((choice) => this.#reader.read(choice))
      .flatMap((part) => this.#take(part));
  }

  end(): object[] {
    if (this.#reason === "abort") throw givenUp();
    const isCut = this.#reason === "length";
    // Even an answer without a word is a message.
    const empty = this.#output.length === 0 && this.#open === undefined ? this.#begin(MESSAGE) : [];
    const closing = this.#close(isCut ? "incomplete" : "completed");
    const output = this.#output;
    const last = isCut
      ? this.#whole("response.incomplete", {
        ...{ status: "incomplete", output },
        incomplete_details: { reason: "max_output_tokens" },
      })
      : this.#whole("response.completed", { status: "completed", output });
    return [...empty, ...closing, last];
  }

  fail({ message }: ErrorData): object[] {
    const error = { code: "server_error", message };
    return [this.#whole("response.failed", { status: "failed", output: this.#output, error })];
  }

  #take(part: ChatPart): object[] {
    switch (part.type) {
      case "thought":
        return this.#say(this.#thoughts, part.text);
      case "text":
        return this.#say(MESSAGE, part.text);
      case "call":
        return [...this.#close("completed"), ...this.#call(part)];
      case "end":
        this.#reason = part.reason;
        return [];
    }
  }

  #say(kind: TextKind, text: string): object[] {
    const events = this.#open?.kind === kind
      ? []
      : [...this.#close("completed"), ...this.#begin(kind)];
    const open = this.#open!;
    open.text += text;
    return [
      ...events,
      this.#event(kind.textDelta, { ...this.#place(open), delta: text, ...kind.more }),
    ];
  }

  #begin(kind: TextKind): object[] {
    const open = this.#open = { kind, id: newId(kind.idPrefix), text: "" };
    return [
      this.#itemEvent("added", kind.item(open.id, "in_progress", [])),
      this.#event(kind.partAdded, { ...this.#place(open), part: kind.part("") }),
    ];
  }

  #close(status: ItemStatus): object[] {
    if (this.#open === undefined) return [];
    const { kind, id, text } = this.#open;
    const place = this.#place(this.#open);
    const part = kind.part(text);
    const item = kind.item(id, status, [part]);
    this.#open = undefined;
    const events = [
      this.#event(kind.textDone, { ...place, text, ...kind.more }),
      this.#event(kind.partDone, { ...place, part }),
      this.#itemEvent("done", item),
    ];
    this.#output.push(item);
    return events;
  }

  #call(part: Extract<ChatPart, { type: "call" }>): object[] {
    const call = { ...part, ...this.#namespaced.get(part.name) };
    const id = newId("fc_");
    const place = { item_id: id, output_index: this.#output.length };
    const { arguments: given, name } = call;
    const item = callItem(id, isJson(given) ? "completed" : "incomplete", call);
    const type = "response.function_call_arguments";
    const events = [
      this.#itemEvent("added", callItem(id, "in_progress", { ...call, arguments: "" })),
      this.#event(`${type}.delta`, { ...place, delta: given }),
      this.#event(`${type}.done`, { ...place, name, arguments: given }),
      this.#itemEvent("done", item),
    ];
    this.#output.push(item);
    return events;
  }

  #place({ id, kind }: OpenItem): object {
    return { item_id: id, output_index: this.#output.length, ...kind.at };
  }

  #itemEvent(what: "added" | "done", item: OutputItem): object {
    return this.#event(`response.output_item.${what}`, { output_index: this.#output.length, item });
  }

  #whole(type: string, progress: ResponseProgress): object {
    this.#response = responseObject(this.#running, this.#request, progress);
    return this.#event(type, { response: this.#response });
  }

  #event(type: string, fields: object): object {
    return { type, sequence_number: this.#sequence++, ...fields };
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
