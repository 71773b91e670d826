import { assert, assertEquals } from "@std/assert";
import { z } from "zod";
import { Explanation } from "./explain_format.ts";

/** The Messages API as its reference has it, as far as this server speaks it: nothing else passes. */

const Tokens = z.int().min(0);
const Caller = z.strictObject({ type: z.literal("direct") });

const Text = z.strictObject({ type: z.literal("text"), text: z.string(), citations: z.null() });
const Thinking = z.strictObject({
  type: z.literal("thinking"),
  thinking: z.string(),
  signature: z.string(),
});
const ToolUse = z.strictObject({
  type: z.literal("tool_use"),
  id: z.string().regex(/^[\w-]+$/),
  name: z.string().min(1),
  input: z.looseObject({}),
  caller: Caller,
});
const Block = z.discriminatedUnion("type", [Text, Thinking, ToolUse]);

const StopReason = z.enum([
  "end_turn",
  "max_tokens",
  "stop_sequence",
  "tool_use",
  "model_context_window_exceeded",
]);
const STOP = {
  stop_reason: StopReason.nullable(),
  stop_sequence: z.string().nullable(),
  stop_details: z.null(),
  container: z.null(),
};
const USAGE = {
  input_tokens: Tokens,
  cache_read_input_tokens: Tokens,
  cache_creation_input_tokens: Tokens,
  output_tokens: Tokens,
  output_tokens_details: z.strictObject({ thinking_tokens: Tokens }),
  server_tool_use: z.null(),
};
const Quire = Explanation.optional();

/** A whole message. */
export const MessageObject = z.strictObject({
  id: z.string().regex(/^msg_\w+$/),
  type: z.literal("message"),
  role: z.literal("assistant"),
  model: z.string(),
  content: z.array(Block),
  ...STOP,
  diagnostics: z.null(),
  usage: z.strictObject({ ...USAGE, service_tier: z.literal("standard") }),
  quire: Quire,
});
export type MessageObject = z.output<typeof MessageObject>;

/** The body of an error, and the event of one. */
export const MessageError = z.strictObject({
  type: z.literal("error"),
  error: z.strictObject({
    type: z.enum([
      "invalid_request_error",
      "authentication_error",
      "permission_error",
      "not_found_error",
      "request_too_large",
      "rate_limit_error",
      "overloaded_error",
      "api_error",
    ]),
    message: z.string().min(1),
  }),
  request_id: z.string().min(1),
});

const index = z.int().min(0);
const Delta = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text_delta"), text: z.string().min(1) }),
  z.strictObject({ type: z.literal("thinking_delta"), thinking: z.string().min(1) }),
  z.strictObject({ type: z.literal("signature_delta"), signature: z.string().min(1) }),
  z.strictObject({ type: z.literal("input_json_delta"), partial_json: z.string() }),
]);

/** An event of a stream. */
export const MessageEvent = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("message_start"), message: MessageObject }),
  z.strictObject({ type: z.literal("ping") }),
  z.strictObject({ type: z.literal("content_block_start"), index, content_block: Block }),
  z.strictObject({ type: z.literal("content_block_delta"), index, delta: Delta }),
  z.strictObject({ type: z.literal("content_block_stop"), index }),
  z.strictObject({
    type: z.literal("message_delta"),
    delta: z.strictObject(STOP),
    usage: z.strictObject(USAGE),
    quire: Quire,
  }),
  z.strictObject({ type: z.literal("message_stop") }),
]);

/**
 * Checks a stream as a whole: each event by itself, their order, and that blocks follow each other.
 *
 * @returns the message that its events build.
 */
export function checkMessageStream(raw: readonly unknown[]): MessageObject {
  const events = raw.map((one) => MessageEvent.parse(one))
    .filter(({ type }, i) => i === 1 || type !== "ping");
  const [start, ping, ...rest] = events;
  assert(start?.type === "message_start" && ping?.type === "ping");
  assertEquals(rest.pop(), { type: "message_stop" });
  const last = rest.pop();
  assert(last?.type === "message_delta" && last.delta.stop_reason !== null);
  assertEquals([start.message.content, start.message.stop_reason], [[], null]);
  const content: z.output<typeof Block>[] = [];
  let block: z.output<typeof Block> | undefined;
  let json = "";
  for (const event of rest) {
    assert("index" in event && event.index === content.length, event.type);
    if (event.type === "content_block_start") {
      assert(block === undefined);
      block = event.content_block;
      json = "";
      continue;
    }
    assert(block !== undefined);
    if (event.type === "content_block_delta") {
      const { delta } = event;
      if (delta.type === "input_json_delta") json += delta.partial_json;
      block = grown(block, delta);
      continue;
    }
    content.push(block.type === "tool_use" ? { ...block, input: JSON.parse(json) } : block);
    block = undefined;
  }
  assert(block === undefined);
  const { usage, message } = { ...start, ...last };
  return MessageObject.parse({
    ...message,
    ...last.delta,
    content,
    usage: { ...usage, service_tier: "standard" },
  });
}

function grown(
  block: z.output<typeof Block>,
  delta: z.output<typeof Delta>,
): z.output<typeof Block> {
  if (block.type === "text" && delta.type === "text_delta") {
    return { ...block, text: block.text + delta.text };
  }
  if (block.type === "thinking" && delta.type === "thinking_delta") {
    return { ...block, thinking: block.thinking + delta.thinking };
  }
  if (block.type === "thinking" && delta.type === "signature_delta") {
    return { ...block, signature: delta.signature };
  }
  assert(block.type === "tool_use" && delta.type === "input_json_delta", delta.type);
  return block;
}
