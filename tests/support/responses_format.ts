import { assert, assertEquals } from "@std/assert";
import { z } from "zod";
import { Explanation } from "./explain_format.ts";

/** The Responses API as its reference has it, as far as this server speaks it: nothing else passes. */

const Status = z.enum(["in_progress", "completed", "incomplete"]);
const OutputText = z.strictObject({
  type: z.literal("output_text"),
  text: z.string(),
  annotations: z.array(z.never()),
  logprobs: z.array(z.never()),
});
const ReasoningText = z.strictObject({ type: z.literal("reasoning_text"), text: z.string() });
const SummaryText = z.strictObject({ type: z.literal("summary_text"), text: z.string() });

const Message = z.strictObject({
  id: z.string().regex(/^msg_\w+$/),
  type: z.literal("message"),
  status: Status,
  role: z.literal("assistant"),
  content: z.array(OutputText).max(1),
});
const Reasoning = z.strictObject({
  id: z.string().regex(/^rs_\w+$/),
  type: z.literal("reasoning"),
  status: Status,
  summary: z.array(SummaryText).max(1),
  content: z.array(ReasoningText).max(1).optional(),
  encrypted_content: z.null(),
});
const FunctionCall = z.strictObject({
  id: z.string().regex(/^fc_\w+$/),
  type: z.literal("function_call"),
  status: Status,
  call_id: z.string().min(1),
  name: z.string().min(1),
  namespace: z.string().min(1).optional(),
  arguments: z.string(),
});
const Item = z.discriminatedUnion("type", [Message, Reasoning, FunctionCall]);

const Tokens = z.int().min(0);
const Usage = z.strictObject({
  input_tokens: Tokens,
  input_tokens_details: z.strictObject({ cached_tokens: Tokens, cache_write_tokens: Tokens }),
  output_tokens: Tokens,
  output_tokens_details: z.strictObject({ reasoning_tokens: Tokens }),
  total_tokens: Tokens,
});

const FunctionTool = z.strictObject({
  type: z.literal("function"),
  name: z.string(),
  description: z.string().nullable(),
  parameters: z.looseObject({}).nullable(),
  strict: z.boolean(),
});
const Namespace = z.strictObject({
  type: z.literal("namespace"),
  name: z.string(),
  description: z.string().nullable(),
  tools: z.array(FunctionTool),
});

/** A response object. */
export const ResponseObject = z.strictObject({
  id: z.string().regex(/^resp_\w+$/),
  object: z.literal("response"),
  created_at: z.int(),
  completed_at: z.int().nullable(),
  status: z.enum(["in_progress", "completed", "incomplete", "failed"]),
  background: z.literal(false),
  error: z.strictObject({ code: z.literal("server_error"), message: z.string() }).nullable(),
  incomplete_details: z.strictObject({ reason: z.literal("max_output_tokens") }).nullable(),
  instructions: z.string().nullable(),
  max_output_tokens: z.int().nullable(),
  max_tool_calls: z.int().nullable(),
  metadata: z.record(z.string(), z.string()),
  model: z.string(),
  output: z.array(Item),
  parallel_tool_calls: z.boolean(),
  previous_response_id: z.null(),
  prompt_cache_key: z.string().nullable(),
  reasoning: z.strictObject({ effort: z.string().nullable(), summary: z.string().nullable() }),
  safety_identifier: z.string().nullable(),
  service_tier: z.literal("default"),
  store: z.literal(false),
  temperature: z.number(),
  text: z.strictObject({
    format: z.looseObject({ type: z.enum(["text", "json_schema", "json_object"]) }),
    verbosity: z.literal("medium"),
  }),
  tool_choice: z.union([
    z.enum(["none", "auto", "required"]),
    z.strictObject({
      type: z.literal("function"),
      name: z.string(),
      namespace: z.string().optional(),
    }),
  ]),
  tools: z.array(z.discriminatedUnion("type", [FunctionTool, Namespace])),
  top_logprobs: z.literal(0),
  top_p: z.number(),
  truncation: z.literal("disabled"),
  usage: Usage.nullable(),
  user: z.string().nullable(),
  quire: Explanation.optional(),
});
export type ResponseObject = z.output<typeof ResponseObject>;

function event<T extends string, S extends z.core.$ZodLooseShape>(type: T, shape: S) {
  return z.strictObject({ type: z.literal(type), sequence_number: z.int().min(0), ...shape });
}
const whole = { response: ResponseObject };
const item = { output_index: z.int().min(0), item: Item };
const place = { item_id: z.string(), output_index: z.int().min(0) };
const inContent = { ...place, content_index: z.literal(0) };
const inSummary = { ...place, summary_index: z.literal(0) };
const logprobs = z.array(z.never());
const ContentPart = z.discriminatedUnion("type", [OutputText, ReasoningText]);
const call = "response.function_call_arguments" as const;
const summary = "response.reasoning_summary" as const;

/** An event of a stream. */
export const ResponseEvent = z.discriminatedUnion("type", [
  event("response.created", whole),
  event("response.in_progress", whole),
  event("response.completed", whole),
  event("response.incomplete", whole),
  event("response.failed", whole),
  event("response.output_item.added", item),
  event("response.output_item.done", item),
  event("response.content_part.added", { ...inContent, part: ContentPart }),
  event("response.content_part.done", { ...inContent, part: ContentPart }),
  event("response.output_text.delta", { ...inContent, delta: z.string().min(1), logprobs }),
  event("response.output_text.done", { ...inContent, text: z.string(), logprobs }),
  event("response.reasoning_text.delta", { ...inContent, delta: z.string().min(1) }),
  event("response.reasoning_text.done", { ...inContent, text: z.string() }),
  event(`${summary}_part.added`, { ...inSummary, part: SummaryText }),
  event(`${summary}_part.done`, { ...inSummary, part: SummaryText }),
  event(`${summary}_text.delta`, { ...inSummary, delta: z.string().min(1) }),
  event(`${summary}_text.done`, { ...inSummary, text: z.string() }),
  event(`${call}.delta`, { ...place, delta: z.string() }),
  event(`${call}.done`, { ...place, name: z.string(), arguments: z.string() }),
]);
export type ResponseEvent = z.output<typeof ResponseEvent>;

/** What the events of one item are, from its beginning to its end, but for the deltas between. */
const ORDERS: Readonly<Record<string, readonly string[]>> = {
  message: ["content_part.added", "output_text.delta", "output_text.done", "content_part.done"],
  reasoning: [
    ...["content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done"],
  ],
  summary: [
    "reasoning_summary_part.added",
    "reasoning_summary_text.delta",
    "reasoning_summary_text.done",
    "reasoning_summary_part.done",
  ],
  function_call: ["function_call_arguments.delta", "function_call_arguments.done"],
};

/**
 * Checks a stream as a whole: each event by itself, its number, the order of items and of the
 * events in them, that deltas add up to what is done, and that the last event has it all.
 *
 * @returns the response that it ends with.
 */
export function checkResponseStream(raw: readonly unknown[]): ResponseObject {
  const events = raw.map((one) => ResponseEvent.parse(one));
  assertEquals(events.map(({ sequence_number }) => sequence_number), [...events.keys()]);
  assertEquals(events.slice(0, 2).map(({ type }) => type), [
    "response.created",
    "response.in_progress",
  ]);
  const last = events.at(-1)!;
  assert("response" in last && /completed|incomplete|failed$/.test(last.type), last.type);
  assertEquals(last.type, `response.${last.response.status}`);
  const done: z.output<typeof Item>[] = [];
  let names: string[] = [];
  let text = "";
  for (const one of events.slice(2, -1)) {
    assert(!("response" in one), `${one.type} within a stream`);
    assertEquals(one.output_index, done.length);
    if (one.type === "response.output_item.added") {
      names = [one.item.id];
      text = "";
      continue;
    }
    const name = one.type.slice("response.".length);
    if ("item_id" in one) assertEquals(one.item_id, names[0]);
    if ("delta" in one) text += one.delta;
    if ("text" in one) assertEquals(one.text, text);
    if ("arguments" in one) assertEquals(one.arguments, text);
    if (one.type !== "response.output_item.done") {
      if (names.at(-1) !== name || !name.endsWith("delta")) names.push(name);
      continue;
    }
    assertEquals(one.item.id, names[0]);
    assertEquals(textOf(one.item), text);
    const kind = one.item.type === "reasoning" && one.item.summary.length > 0
      ? "summary"
      : one.item.type;
    // An empty message has no delta.
    const order = ORDERS[kind]!.filter((step) => text !== "" || !step.endsWith("text.delta"));
    assertEquals(names.slice(1), order);
    done.push(one.item);
  }
  assertEquals(last.response.output, done);
  return last.response;
}

function textOf(item: z.output<typeof Item>): string {
  if (item.type === "function_call") return item.arguments;
  const parts = item.type === "message" ? item.content : [...item.content ?? [], ...item.summary];
  return parts.map(({ text }) => text).join("");
}
