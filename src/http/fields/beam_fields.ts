import { type BeamSearchParams, numCandidates } from "../../core/beam_search_params.ts";
import { RequestError } from "../../core/errors.ts";
import { MAX_LOGPROBS } from "../../core/sampling_params.ts";
import { unsupported } from "../refusals.ts";
import type { SamplingFields } from "./sampling_fields.ts";

/** Fields that a search does not support, each with its neutral value. */
const NOT_SEARCHED: readonly (readonly [string, string | number])[] = [
  // The engine searches over tokens and knows no text.
  ["stop", ""],
  // Candidates are ranked by the model's own probabilities.
  ["frequency_penalty", 0],
  ["presence_penalty", 0],
  ["repetition_penalty", 1],
  ["repeat_penalty", 1],
  ["min_tokens", 0],
  ["logit_bias", ""],
  ["bad_words", ""],
  ["allowed_token_ids", ""],
];

/**
 * The search that a request asks for with `use_beam_search`, of `n` beams for the `n` best answers;
 * undefined when it draws. `temperature`, `top_p`, `top_k`, `min_p` and `seed` belong to draws and
 * are ignored.
 *
 * @throws {RequestError} when it asks for more beams than there are candidates for, or uses a field
 * that a search does not support.
 */
export function beamSearchOf(request: SamplingFields): BeamSearchParams | undefined {
  if (request.use_beam_search !== true) return undefined;
  const params = {
    width: request.n ?? 1,
    lengthPenalty: request.length_penalty ?? 1,
    earlyStopping: request.early_stopping ?? true,
  };
  if (numCandidates(params) > MAX_LOGPROBS) {
    const limit = MAX_LOGPROBS / numCandidates({ ...params, width: 1 });
    throw new RequestError(
      `n must be at most ${limit} with use_beam_search, got ${params.width}: it is the number of beams`,
      { code: "invalid_value", param: "n", details: { n_beams: params.width, limit } },
    );
  }
  for (const [name, neutral] of NOT_SEARCHED) {
    if (isNeutral(request[name], neutral)) continue;
    throw unsupported(name, `${name} is not supported with use_beam_search: leave it out`);
  }
  return params;
}

function isNeutral(value: unknown, neutral: string | number): boolean {
  if (value === undefined || value === null || value === neutral) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}
