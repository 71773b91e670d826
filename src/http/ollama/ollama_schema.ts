import { z } from "zod";
import { boundedArray } from "../body/bounded_array.ts";
import { EXTRA_FIELDS } from "../fields/extra_fields.ts";
import { MAX_LOGPROBS } from "../../core/sampling_params.ts";
import { LOGIT_FIELDS } from "../fields/logit_fields.ts";
import { SAMPLING_FIELDS } from "../fields/sampling_fields.ts";
import { THINKING_FIELDS } from "../fields/thinking_fields.ts";
import { TOOL_FIELDS } from "../fields/tool_fields.ts";
import { neutral, type UnsupportedFields } from "../fields/unsupported_fields.ts";

const MAX_MESSAGES = 4096;
const MAX_CALLS = 1024;
const MAX_IMAGES = 1024;
const MAX_TOKENS = 2 ** 31 - 1;

/** Sizes and switches of Ollama's runner, which change no answer. */
const RUNNER_OPTIONS = {
  num_keep: z.unknown().optional(),
  num_batch: z.unknown().optional(),
  num_gpu: z.unknown().optional(),
  main_gpu: z.unknown().optional(),
  num_thread: z.unknown().optional(),
  numa: z.unknown().optional(),
  low_vram: z.unknown().optional(),
  f16_kv: z.unknown().optional(),
  vocab_only: z.unknown().optional(),
  use_mmap: z.unknown().optional(),
  use_mlock: z.unknown().optional(),
  logits_all: z.unknown().optional(),
  embedding_only: z.unknown().optional(),
  penalize_newline: z.unknown().optional(),
  mirostat_tau: z.unknown().optional(),
  mirostat_eta: z.unknown().optional(),
};

/** Ollama's `options`; others are refused by name. */
const Options = z.strictObject({
  temperature: SAMPLING_FIELDS.temperature,
  top_p: SAMPLING_FIELDS.top_p,
  top_k: SAMPLING_FIELDS.top_k,
  min_p: SAMPLING_FIELDS.min_p,
  seed: SAMPLING_FIELDS.seed,
  stop: SAMPLING_FIELDS.stop,
  /** Most tokens of the answer; 0 and below: as many as the context leaves. */
  num_predict: z.int().min(-2).max(MAX_TOKENS).nullish(),
  /** Positions that the server has to have. */
  num_ctx: z.int().min(1).max(MAX_TOKENS).nullish(),
  repeat_penalty: LOGIT_FIELDS.repeat_penalty,
  repeat_last_n: z.int().min(-1).max(MAX_TOKENS).nullish(),
  presence_penalty: LOGIT_FIELDS.presence_penalty,
  frequency_penalty: LOGIT_FIELDS.frequency_penalty,
  typical_p: z.literal(1).nullish(),
  tfs_z: z.literal(1).nullish(),
  mirostat: z.literal(0).nullish(),
  ...RUNNER_OPTIONS,
});
export type OllamaOptions = z.output<typeof Options>;

const ToolCall = z.looseObject({
  id: z.string().nullish(),
  function: z.looseObject({ name: z.string(), arguments: z.unknown().optional() }),
});
const Images = boundedArray(z.unknown(), { max: MAX_IMAGES }).nullish();
const Message = z.looseObject({
  role: z.enum(["system", "user", "assistant", "tool"]),
  content: z.string().nullish(),
  thinking: z.string().nullish(),
  images: Images,
  tool_calls: boundedArray(ToolCall, { max: MAX_CALLS }).nullish(),
  tool_name: z.string().nullish(),
  tool_call_id: z.string().nullish(),
});
export type OllamaMessage = z.output<typeof Message>;

/** Accepted: the model stays loaded for as long as the server runs. */
const KeepAlive = z.union([z.number(), z.string()]).nullish();

/** Fields of both endpoints; null counts as absent. */
const COMMON = {
  ...EXTRA_FIELDS,
  model: z.string().min(1),
  options: Options.nullish(),
  format: z.union([z.enum(["", "json"]), z.looseObject({})]).nullish(),
  chat_template_kwargs: THINKING_FIELDS.chat_template_kwargs,
  think: z.union([z.boolean(), z.enum(["low", "medium", "high"])]).nullish(),
  stream: z.boolean().nullish(),
  keep_alive: KeepAlive,
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(MAX_LOGPROBS).nullish(),
};
const Common = z.looseObject(COMMON);
/** What `/api/chat` and `/api/generate` have in common. */
export type OllamaCommon = z.output<typeof Common>;

/** Body of `POST /api/chat`. */
export const OllamaChatRequest = z.looseObject({
  ...COMMON,
  messages: boundedArray(Message, { max: MAX_MESSAGES }).nullish(),
  tools: TOOL_FIELDS.tools,
});
export type OllamaChatRequest = z.output<typeof OllamaChatRequest>;

/** Body of `POST /api/generate`. */
export const OllamaGenerateRequest = z.looseObject({
  ...COMMON,
  prompt: z.string().nullish(),
  system: z.string().nullish(),
  raw: z.boolean().nullish(),
});
export type OllamaGenerateRequest = z.output<typeof OllamaGenerateRequest>;

/** Fields of both endpoints for vectors. */
const EMBEDDING = { model: z.string().min(1), options: Options.nullish(), keep_alive: KeepAlive };
/** Body of `POST /api/embed`. */
export const OllamaEmbedRequest = z.looseObject({
  ...EMBEDDING,
  input: z.union([z.string(), z.array(z.unknown())]),
  dimensions: z.int().min(1).max(MAX_TOKENS).nullish(),
  truncate: z.boolean().nullish(),
});
/** Body of `POST /api/embeddings`. */
export const OllamaEmbeddingRequest = z.looseObject({ ...EMBEDDING, prompt: z.string().nullish() });

/** Body of `POST /api/show`; `name` is what `model` was called before. */
export const OllamaShowRequest = z.looseObject({
  model: z.string().nullish(),
  name: z.string().nullish(),
});

const EMPTY_LIST = neutral("an empty list", (value) => Array.isArray(value) && value.length === 0);
const NO_TEXT = neutral('""', (value) => value === "");

/** What both endpoints know and refuse; templates are the operator's alone. */
export const UNSUPPORTED_IN_OLLAMA: UnsupportedFields = new Map([
  ["images", EMPTY_LIST],
  ["template", NO_TEXT],
  ["chat_template", neutral("null")],
  ["suffix", NO_TEXT],
  ["context", EMPTY_LIST],
  ["width", neutral("null")],
  ["height", neutral("null")],
  ["steps", neutral("null")],
]);
