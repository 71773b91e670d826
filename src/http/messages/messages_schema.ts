import { z } from "zod";
import { boundedArray } from "../body/bounded_array.ts";
import { EXTRA_FIELDS } from "../fields/extra_fields.ts";
import { SAMPLING_FIELDS, StopStringList } from "../fields/sampling_fields.ts";
import { THINKING_FIELDS } from "../fields/thinking_fields.ts";
import { LongToolName, MAX_TOOLS } from "../fields/tool_fields.ts";
import { neutral, type UnsupportedFields } from "../fields/unsupported_fields.ts";

/** Most messages of a conversation, and blocks of one. */
const MAX_MESSAGES = 4096;
const MAX_BLOCKS = 1024;
const MAX_ID_CHARS = 512;
const MAX_COUNT = 2 ** 31 - 1;

/** Where a prefix of the prompt ends that is to be cached: here every prefix is. */
const CacheControl = z.looseObject({ type: z.literal("ephemeral") }).nullish();

/** A block of any type; `messages_input.ts` says which fields a type needs. */
const INNER_BLOCK = {
  type: z.string(),
  text: z.string().nullish(),
  cache_control: CacheControl,
};
const InnerBlock = z.looseObject(INNER_BLOCK);
const Texts = z.union([z.string(), boundedArray(InnerBlock, { max: MAX_BLOCKS })]);
const Block = z.looseObject({
  ...INNER_BLOCK,
  thinking: z.string().nullish(),
  id: z.string().max(MAX_ID_CHARS).nullish(),
  name: z.string().nullish(),
  input: z.looseObject({}).nullish(),
  tool_use_id: z.string().max(MAX_ID_CHARS).nullish(),
  content: Texts.nullish(),
  is_error: z.boolean().nullish(),
});
export type Block = z.output<typeof Block>;
export type InnerBlock = z.output<typeof InnerBlock>;

const Message = z.looseObject({
  role: z.enum(["user", "assistant", "system"]),
  content: z.union([z.string(), boundedArray(Block, { max: MAX_BLOCKS })]),
});

const Tool = z.looseObject({
  type: z.string().nullish(),
  name: LongToolName.nullish(),
  description: z.string().nullish(),
  input_schema: z.looseObject({}).nullish(),
  cache_control: CacheControl,
});

const Thinking = z.strictObject({
  type: z.enum(["enabled", "adaptive", "disabled"]),
  budget_tokens: z.int().min(1).max(MAX_COUNT).nullish(),
  display: z.enum(["summarized", "omitted"]).nullish(),
});

/** What of a request becomes its prompt; null counts as absent. */
const PROMPT_FIELDS = {
  model: z.string(),
  messages: boundedArray(Message, { min: 1, max: MAX_MESSAGES }),
  system: Texts.nullish(),
  tools: boundedArray(Tool, { max: MAX_TOOLS }).nullish(),
  tool_choice: z.strictObject({
    type: z.enum(["auto", "any", "tool", "none"]),
    name: LongToolName.nullish(),
    disable_parallel_tool_use: z.boolean().nullish(),
  }).nullish(),
  thinking: Thinking.nullish(),
  output_config: z.strictObject({
    effort: THINKING_FIELDS.reasoning_effort,
    format: z.strictObject({ type: z.literal("json_schema"), schema: z.looseObject({}) }).nullish(),
  }).nullish(),
  cache_control: CacheControl,
  context_management: z.unknown().optional(),
  mcp_servers: z.unknown().optional(),
  speed: z.unknown().optional(),
};

/** Body of `POST /v1/messages`; other fields are refused by name. */
export const MessagesRequest = z.strictObject({
  ...EXTRA_FIELDS,
  ...PROMPT_FIELDS,
  max_tokens: z.int().min(1).max(MAX_COUNT),
  temperature: z.number().min(0).max(1).nullish(),
  top_p: SAMPLING_FIELDS.top_p,
  stop_sequences: StopStringList.nullish(),
  stream: z.boolean().nullish(),
  metadata: z.looseObject({ user_id: z.string().nullish() }).nullish(),
  service_tier: z.enum(["auto", "standard_only"]).nullish(),
  // Who asks, and a wish for notes about the cache, which an answer here has none of.
  user_profile_id: z.string().nullish(),
  workspace_id: z.string().nullish(),
  diagnostics: z.looseObject({}).nullish(),
  container: z.unknown().optional(),
  inference_geo: z.unknown().optional(),
});
export type MessagesRequest = z.output<typeof MessagesRequest>;

/** Body of `POST /v1/messages/count_tokens`. */
export const CountTokensRequest = z.strictObject(PROMPT_FIELDS);
export type MessagesPrompt = z.output<typeof CountTokensRequest>;

/** What `/v1/messages` knows and refuses. */
export const UNSUPPORTED_IN_MESSAGES: UnsupportedFields = new Map([
  ["container", neutral("null")],
  ["mcp_servers", neutral("[]", (value) => Array.isArray(value) && value.length === 0)],
  ["context_management", neutral("no edits but to keep all thinking", keepsAll)],
  ["speed", neutral('"standard"', (value) => value === "standard")],
  ["inference_geo", neutral("null")],
]);

/** Whether edits of the context leave everything in it. */
function keepsAll(value: unknown): boolean {
  const { edits = [] } = value as { readonly edits?: unknown };
  return Array.isArray(edits) && edits.every((edit) => edit?.keep === "all");
}
