import type { FunctionName } from "./response_tools.ts";

/** How far an item has come. */
export type ItemStatus = "in_progress" | "completed" | "incomplete";

/** An item of a response's `output`. */
export type OutputItem = Readonly<Record<string, unknown>> & { readonly id: string };

/** A kind of item whose text comes in deltas, and the names of its events. */
export interface TextKind {
  /** Begins the ids of such items. */
  readonly idPrefix: string;
  /** The item, without a part or with one. */
  readonly item: (id: string, status: ItemStatus, parts: readonly object[]) => OutputItem;
  readonly part: (text: string) => object;
  /** Names the one part in events. */
  readonly at: Readonly<Record<string, 0>>;
  /** Further fields of the events with text. */
  readonly more: object;
  readonly partAdded: string;
  readonly textDelta: string;
  readonly textDone: string;
  readonly partDone: string;
}

/** What the model says. */
export const MESSAGE: TextKind = {
  idPrefix: "msg_",
  item: (id, status, content) => ({ id, type: "message", status, role: "assistant", content }),
  part: (text) => ({ type: "output_text", text, annotations: [], logprobs: [] }),
  at: { content_index: 0 },
  more: { logprobs: [] },
  partAdded: "response.content_part.added",
  textDelta: "response.output_text.delta",
  textDone: "response.output_text.done",
  partDone: "response.content_part.done",
};

/** What it thinks, as open models show it. */
export const REASONING: TextKind = {
  idPrefix: "rs_",
  item: (id, status, content) => ({ ...reasoning(id, status), summary: [], content }),
  part: (text) => ({ type: "reasoning_text", text }),
  at: { content_index: 0 },
  more: {},
  partAdded: "response.content_part.added",
  textDelta: "response.reasoning_text.delta",
  textDone: "response.reasoning_text.done",
  partDone: "response.content_part.done",
};

/** The same where the request asks for a summary: clients that know no other thoughts show it. */
export const SUMMARY: TextKind = {
  idPrefix: "rs_",
  item: (id, status, summary) => ({ ...reasoning(id, status), summary }),
  part: (text) => ({ type: "summary_text", text }),
  at: { summary_index: 0 },
  more: {},
  partAdded: "response.reasoning_summary_part.added",
  textDelta: "response.reasoning_summary_text.delta",
  textDone: "response.reasoning_summary_text.done",
  partDone: "response.reasoning_summary_part.done",
};

function reasoning(id: string, status: ItemStatus) {
  return { id, type: "reasoning", status, encrypted_content: null };
}

/** A call of a function. */
export interface FunctionCall extends FunctionName {
  readonly id: string;
  /** JSON. */
  readonly arguments: string;
}

export function callItem(id: string, status: ItemStatus, call: FunctionCall): OutputItem {
  const { id: call_id, name, namespace, arguments: given } = call;
  const place = namespace === undefined ? {} : { namespace };
  return { id, type: "function_call", status, call_id, name, ...place, arguments: given };
}
