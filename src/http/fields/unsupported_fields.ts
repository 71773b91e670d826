import { unsupported } from "../refusals.ts";

type Body = Readonly<Record<string, unknown>>;

/** A field of the API that this server knows and does not implement. */
interface Unsupported {
  /** Whether a value changes nothing and is accepted. Null and absence always are. */
  readonly isNeutral: (value: unknown, body: Body) => boolean;
  /** The neutral value in words. */
  readonly neutral: string;
}

/** Fields to refuse, by name. */
export type UnsupportedFields = ReadonlyMap<string, Unsupported>;

/**
 * A field to refuse by name.
 *
 * @param words what to send in its place.
 * @param isNeutral values that ask for nothing, beside null and absence.
 */
export function neutral(words: string, isNeutral: (value: unknown) => boolean = () => false) {
  return { isNeutral, neutral: words };
}

function only(neutral: string | number | boolean): Unsupported {
  return { isNeutral: (value) => value === neutral, neutral: JSON.stringify(neutral) };
}

const NOTHING: Unsupported = { isNeutral: () => false, neutral: "null" };
const EMPTY: Unsupported = {
  isNeutral: (value) => typeof value === "object" && Object.keys(value!).length === 0,
  neutral: "an empty value",
};
const NO_TOOLS: Unsupported = {
  isNeutral: (value) => value === "none" || value === "auto",
  neutral: '"none"',
};
const ONLY_TEXT: Unsupported = {
  isNeutral: (value) => Array.isArray(value) && value.every((modality) => modality === "text"),
  neutral: '["text"]',
};
/** As many candidates as answers, so that none is dropped. */
const AS_MANY_AS_N: Unsupported = {
  isNeutral: (value, body) => value === (body.n ?? 1),
  neutral: "the value of n",
};
/** Penalties cover all of the prompt and the answer. */
const WHOLE_CONTEXT: Unsupported = {
  isNeutral: (value, { repeat_penalty, repetition_penalty }) =>
    value === -1 || ((repeat_penalty ?? 1) === 1 && (repetition_penalty ?? 1) === 1),
  neutral: "-1",
};
const ONLY_IN_A_SEARCH: Unsupported = {
  isNeutral: (value, body) => value === 1 || body.use_beam_search === true,
  neutral: "1, or set use_beam_search",
};

/**
 * Sampling and generation features beyond `SamplingParams`, in OpenAI's, vLLM's and llama.cpp's
 * words.
 */
const GENERATION: readonly (readonly [string, Unsupported])[] = [
  ["bad_words", EMPTY],
  ["best_of", AS_MANY_AS_N],
  ["length_penalty", ONLY_IN_A_SEARCH],
  ["typical_p", only(1)],
  ["mirostat", only(0)],
  ["dry_multiplier", only(0)],
  ["xtc_probability", only(0)],
  ["dynatemp_range", only(0)],
  ["top_n_sigma", { isNeutral: (value) => value === -1 || value === 0, neutral: "-1" }],
  ["min_keep", only(0)],
  ["samplers", NOTHING],
  ["repeat_last_n", WHOLE_CONTEXT],
  ["n_probs", { isNeutral: (value) => value === 0, neutral: "0, and ask with logprobs" }],
  ["post_sampling_probs", only(false)],
  ["return_progress", only(false)],
  ["response_fields", EMPTY],
  ["n_indent", only(0)],
  ["t_max_predict_ms", { isNeutral: (value) => value === 0 || value === -1, neutral: "0" }],
  ["lora", EMPTY],
  ["image_data", EMPTY],
  ["num_ctx", { isNeutral: () => false, neutral: "null: the server's --max-model-len decides" }],
  ["num_predict", { isNeutral: () => false, neutral: "null, and ask with max_tokens" }],
  ["options", { ...EMPTY, neutral: "an empty value, and its fields as the request's own" }],
  ["truncate_prompt_tokens", NOTHING],
  ["logits_processors", EMPTY],
  ["return_tokens_as_token_ids", only(false)],
  ["spaces_between_special_tokens", only(true)],
  ["guided_json", NOTHING],
  ["guided_regex", NOTHING],
  ["guided_choice", NOTHING],
  ["guided_grammar", NOTHING],
  ["json_schema", NOTHING],
  ["grammar", only("")],
  ["regex", NOTHING],
  ["ebnf", NOTHING],
  ["kv_transfer_params", NOTHING],
];

/** What `/v1/chat/completions` refuses. */
export const UNSUPPORTED_IN_CHAT: UnsupportedFields = new Map([
  ...GENERATION,
  ["functions", EMPTY],
  ["function_call", NO_TOOLS],
  ["echo", only(false)],
  ["chat_template", NOTHING],
  ["documents", EMPTY],
  ["add_special_tokens", only(false)],
  ["modalities", ONLY_TEXT],
  ["audio", NOTHING],
  ["prediction", NOTHING],
  ["web_search_options", NOTHING],
]);

/** What `/v1/completions` refuses. */
export const UNSUPPORTED_IN_COMPLETIONS: UnsupportedFields = new Map([
  ...GENERATION,
  ["prompt_embeds", NOTHING],
]);

/**
 * Refuses fields that, if ignored, would change the answer's meaning in silence.
 *
 * @throws {RequestError} naming the first of `fields` that has a value other than a neutral one.
 */
export function refuseUnsupported(body: Body, fields: UnsupportedFields): void {
  for (const [name, { isNeutral, neutral }] of fields) {
    const value = body[name];
    if (value === undefined || value === null || isNeutral(value, body)) continue;
    throw unsupported(
      name,
      `${name} is not supported by this server: leave it out, or send ${neutral}`,
    );
  }
}
