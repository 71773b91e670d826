import { z } from "zod";
import { boundedArray } from "../body/bounded_array.ts";
import { EXTRA_FIELDS } from "../fields/extra_fields.ts";
import { MaxAnswerTokens } from "../fields/length_fields.ts";
import { SAMPLING_FIELDS } from "../fields/sampling_fields.ts";
import { THINKING_FIELDS } from "../fields/thinking_fields.ts";
import { LongToolName, MAX_TOOLS } from "../fields/tool_fields.ts";
import type { UnsupportedFields } from "../fields/unsupported_fields.ts";
import { neutral } from "../fields/unsupported_fields.ts";

/** Most items of a conversation, and parts of one. */
const MAX_ITEMS = 4096;
const MAX_PARTS = 1024;
const MAX_ID_CHARS = 512;
const MAX_METADATA = 16;

const Id = z.string().max(MAX_ID_CHARS).nullish();
const Part = z.looseObject({ type: z.string(), text: z.string().nullish() });
const Parts = boundedArray(Part, { max: MAX_PARTS });
const Content = z.union([z.string(), Parts]).nullish();

/** An item of any type; `responses_input.ts` says which fields a type needs. */
const Item = z.looseObject({
  type: z.string().nullish(),
  id: Id,
  role: z.enum(["user", "assistant", "system", "developer"]).nullish(),
  content: Content,
  summary: Parts.nullish(),
  encrypted_content: z.string().nullish(),
  call_id: Id,
  name: z.string().nullish(),
  namespace: z.string().nullish(),
  arguments: z.string().nullish(),
  output: Content,
});
export type Item = z.output<typeof Item>;
export type ItemPart = z.output<typeof Part>;

const FunctionTool = z.looseObject({
  type: z.string(),
  name: LongToolName.nullish(),
  description: z.string().nullish(),
  parameters: z.looseObject({}).nullish(),
  strict: z.boolean().nullish(),
});
export type FunctionTool = z.output<typeof FunctionTool>;

/** A function, or functions under one name. */
const Tool = z.looseObject({
  ...FunctionTool.shape,
  tools: boundedArray(FunctionTool, { max: MAX_TOOLS }).nullish(),
});

const Format = z.strictObject({
  type: z.enum(["text", "json_object", "json_schema"]),
  name: z.string().nullish(),
  description: z.string().nullish(),
  schema: z.looseObject({}).nullish(),
  strict: z.boolean().nullish(),
});

const Summary = z.enum(["auto", "concise", "detailed"]).nullish();

/** What of a request becomes its prompt; null counts as absent. */
const PROMPT_FIELDS = {
  model: SAMPLING_FIELDS.model,
  input: z.union([z.string(), boundedArray(Item, { min: 1, max: MAX_ITEMS })]),
  instructions: z.string().nullish(),
  tools: boundedArray(Tool, { max: MAX_TOOLS }).nullish(),
  tool_choice: z.union([
    z.enum(["none", "auto", "required"]),
    z.looseObject({
      type: z.string(),
      name: LongToolName.nullish(),
      namespace: LongToolName.nullish(),
    }),
  ]).nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  reasoning: z.strictObject({
    effort: THINKING_FIELDS.reasoning_effort,
    summary: Summary,
    generate_summary: Summary,
    // Which turns' thoughts the model sees is its template's choice.
    context: z.literal("auto").nullish(),
  }).nullish(),
  text: z.strictObject({ format: Format.nullish(), verbosity: z.string().nullish() }).nullish(),
  truncation: z.string().nullish(),
  chat_template_kwargs: THINKING_FIELDS.chat_template_kwargs,
};

/** Fields that are accepted on every request and change no answer here. */
const WITHOUT_EFFECT = {
  conversation: z.unknown().optional(),
  previous_response_id: z.unknown().optional(),
};

/** Body of `POST /v1/responses`; other fields are refused by name. */
export const ResponsesRequest = z.strictObject({
  ...EXTRA_FIELDS,
  ...PROMPT_FIELDS,
  ...WITHOUT_EFFECT,
  temperature: SAMPLING_FIELDS.temperature,
  top_p: SAMPLING_FIELDS.top_p,
  stop: SAMPLING_FIELDS.stop,
  max_output_tokens: MaxAnswerTokens,
  thinking_token_budget: THINKING_FIELDS.thinking_token_budget,
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_obfuscation: z.boolean().nullish() }).nullish(),
  include: boundedArray(z.string(), { max: MAX_METADATA }).nullish(),
  // Nothing is stored, whatever is asked for: the answer says so.
  store: z.boolean().nullish(),
  metadata: z.record(z.string().max(64), z.string().max(512)).nullish(),
  client_metadata: z.record(z.string(), z.string()).nullish(),
  user: z.string().nullish(),
  safety_identifier: z.string().nullish(),
  prompt_cache_key: z.string().nullish(),
  prompt_cache_retention: z.string().nullish(),
  service_tier: z.string().nullish(),
  // It bounds calls of built-in tools, and there are none.
  max_tool_calls: z.int().min(1).nullish(),
  background: z.unknown().optional(),
  prompt: z.unknown().optional(),
  top_logprobs: z.unknown().optional(),
});
export type ResponsesRequest = z.output<typeof ResponsesRequest>;

/** Body of `POST /v1/responses/input_tokens`. */
export const InputTokensRequest = z.strictObject({ ...PROMPT_FIELDS, ...WITHOUT_EFFECT });
export type ResponsesPrompt = z.output<typeof InputTokensRequest>;

/** What `/v1/responses` knows and refuses. */
export const UNSUPPORTED_IN_RESPONSES: UnsupportedFields = new Map([
  ["previous_response_id", neutral("null and the whole conversation as input")],
  ["conversation", neutral("null and the whole conversation as input")],
  ["prompt", neutral("null")],
  ["background", neutral("false", (value) => value === false)],
  ["truncation", neutral('"disabled"', (value) => value === "disabled")],
  ["top_logprobs", neutral("0", (value) => value === 0)],
]);
