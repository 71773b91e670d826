import { z } from "zod";
import { invalid } from "../refusals.ts";

/** Largest number of tokens a request may name; the context is the real limit. */
export const MAX_TOKENS = 2 ** 31 - 1;

/**
 * Most tokens to generate; -1: as many as the context holds; 0: the prompt is computed, no more.
 */
export const MaxTokens = z.int().min(-1).max(MAX_TOKENS).nullish();

/** Most tokens of an answer, of which there has to be one. */
export const MaxAnswerTokens = z.int().min(1).max(MAX_TOKENS).nullish();

/** The names of that field in the order in which they count: OpenAI's two, and llama.cpp's. */
const NAMES = ["max_completion_tokens", "max_tokens", "n_predict"] as const;

type LengthFields = Readonly<Partial<Record<(typeof NAMES)[number], number | null | undefined>>> & {
  readonly use_beam_search?: boolean | null | undefined;
};

/**
 * Most tokens that a request asks for; undefined where it names none.
 *
 * @throws {RequestError} when `n_predict` says something else than OpenAI's field, and for a search
 * without an answer.
 */
export function maxTokensOf(request: LengthFields): number | undefined {
  const name = NAMES.find((one) => typeof request[one] === "number");
  if (name === undefined) return undefined;
  const maxTokens = request[name]!;
  const { n_predict } = request;
  if (typeof n_predict === "number" && n_predict !== maxTokens) {
    throw invalid(
      "n_predict",
      `n_predict is another name of ${name}: send one of them, got ${n_predict} and ${maxTokens}`,
    );
  }
  if (maxTokens === 0 && request.use_beam_search === true) {
    throw invalid(name, `${name} must be at least 1 with use_beam_search, got 0`);
  }
  return maxTokens;
}
