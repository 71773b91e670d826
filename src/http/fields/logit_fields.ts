import { z } from "zod";
import type { TokenId } from "../../core/ids.ts";
import type { SamplingParams } from "../../core/sampling_params.ts";
import { invalid, quoted } from "../refusals.ts";
import { parseTokenIds } from "./token_ids.ts";

/** Most tokens that a request may bias: each is uploaded with every draw. */
const MAX_BIASES = 1024;
/**
 * Largest bias either way, as OpenAI has it; at this size a token is as good as forced or banned.
 */
const MAX_BIAS = 100;
/** Largest factor of the repetition penalty, and one over the smallest: logits stay finite. */
const MAX_REPETITION_PENALTY = 100;
const MAX_MIN_TOKENS = 2 ** 31 - 1;

const RepetitionPenalty = z.number().min(1 / MAX_REPETITION_PENALTY).max(MAX_REPETITION_PENALTY)
  .nullish();

/** Fields of both endpoints that change the logits before the draw; null counts as absent. */
export const LOGIT_FIELDS = {
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  repetition_penalty: RepetitionPenalty,
  /** llama.cpp's name for it; it still covers the whole prompt and output. */
  repeat_penalty: RepetitionPenalty,
  logit_bias: z.custom<Readonly<Record<string, unknown>>>(
    (value) => typeof value === "object" && value !== null && !Array.isArray(value),
    "an object of token ids and biases",
  ).nullish(),
  allowed_token_ids: z.array(z.unknown()).min(1).nullish(),
  min_tokens: z.int().min(0).max(MAX_MIN_TOKENS).nullish(),
};

const LogitFields = z.looseObject(LOGIT_FIELDS);
/** The checked values of {@link LOGIT_FIELDS}. */
export type LogitFields = z.output<typeof LogitFields>;

/** The context of these fields' limits. */
export interface LogitLimits {
  readonly vocabSize: number;
  /** Most tokens of the answer. */
  readonly maxTokens: number;
  readonly stopTokenIds: readonly TokenId[];
}

/** Values of absent fields: the model's recommendations, or neutral ones. */
export interface LogitDefaults {
  readonly repetitionPenalty?: number;
}

type LogitParams = Pick<
  SamplingParams,
  | "frequencyPenalty"
  | "presencePenalty"
  | "repetitionPenalty"
  | "logitBias"
  | "allowedTokens"
  | "minTokens"
>;

/**
 * The parameters of these fields, without those that would change nothing.
 *
 * @throws {RequestError} naming the field, its limit and the value.
 */
export function toLogitParams(
  request: LogitFields,
  limits: LogitLimits,
  defaults: LogitDefaults = {},
): LogitParams {
  const repetitionPenalty = repetitionPenaltyOf(request) ?? defaults.repetitionPenalty ?? 1;
  const { frequency_penalty, presence_penalty, allowed_token_ids } = request;
  const logitBias = parseLogitBias(request.logit_bias ?? {}, limits.vocabSize);
  const minTokens = checkMinTokens(request.min_tokens ?? 0, limits.maxTokens);
  const allowed = allowed_token_ids == null
    ? undefined
    : parseAllowed(allowed_token_ids, minTokens, limits);
  return {
    ...(frequency_penalty ? { frequencyPenalty: frequency_penalty } : {}),
    ...(presence_penalty ? { presencePenalty: presence_penalty } : {}),
    ...(repetitionPenalty === 1 ? {} : { repetitionPenalty }),
    ...(logitBias.length === 0 ? {} : { logitBias }),
    ...(minTokens === 0 ? {} : { minTokens }),
    ...(allowed === undefined ? {} : { allowedTokens: toBitmask(allowed, limits.vocabSize) }),
  };
}

function repetitionPenaltyOf(
  { repetition_penalty, repeat_penalty }: LogitFields,
): number | null | undefined {
  const penalty = repetition_penalty ?? repeat_penalty;
  if (repeat_penalty == null || repeat_penalty === penalty) return penalty;
  throw invalid(
    "repeat_penalty",
    `repeat_penalty is another name of repetition_penalty: send one of them, got ${repeat_penalty} ` +
      `and ${penalty}`,
  );
}

function parseLogitBias(
  biases: Readonly<Record<string, unknown>>,
  vocabSize: number,
): (readonly [TokenId, number])[] {
  const entries = Object.entries(biases);
  if (entries.length > MAX_BIASES) {
    throw invalid(
      "logit_bias",
      `logit_bias must name at most ${MAX_BIASES} tokens, got ${entries.length}`,
    );
  }
  return entries.map(([key, bias]) => {
    const token = Number(key);
    if (!/^(0|[1-9]\d*)$/.test(key) || token >= vocabSize) {
      throw invalid(
        "logit_bias",
        `logit_bias must be keyed by token ids, integers from 0 to ${vocabSize - 1}, got ` +
          quoted(key),
      );
    }
    if (typeof bias !== "number" || !(Math.abs(bias) <= MAX_BIAS)) {
      const got = typeof bias === "number" ? String(bias) : typeof bias;
      throw invalid(
        `logit_bias.${key}`,
        `logit_bias.${key} must be a number from ${-MAX_BIAS} to ${MAX_BIAS}, got ${got}`,
      );
    }
    return [token, bias] as const;
  });
}

function checkMinTokens(minTokens: number, maxTokens: number): number {
  if (minTokens <= maxTokens) return minTokens;
  throw invalid(
    "min_tokens",
    `min_tokens must be at most the ${maxTokens} tokens that the answer may have, got ${minTokens}`,
  );
}

function parseAllowed(
  ids: readonly unknown[],
  minTokens: number,
  { vocabSize, stopTokenIds }: LogitLimits,
): readonly TokenId[] {
  const param = "allowed_token_ids";
  if (ids.length > vocabSize) {
    throw invalid(
      param,
      `${param} must be an array of at most ${vocabSize} elements, got an array of ${ids.length} elements`,
    );
  }
  const allowed = parseTokenIds(ids, param, vocabSize);
  if (minTokens === 0 || allowed.some((id) => !stopTokenIds.includes(id))) return allowed;
  throw invalid(
    param,
    `${param} must hold a token that does not end the answer while min_tokens is ${minTokens}, got ` +
      `stop tokens only`,
  );
}

function toBitmask(ids: readonly TokenId[], vocabSize: number): Uint32Array {
  const words = new Uint32Array(Math.ceil(vocabSize / 32));
  for (const id of ids) words[id >>> 5]! |= 1 << id % 32;
  return words;
}
