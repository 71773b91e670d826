import type { TokenId } from "../../core/ids.ts";
import type { ScoredToken } from "../answer/sequence_text.ts";
import type { TextPort } from "../text_port.ts";

type Vocabulary = Pick<TextPort, "tokenText" | "tokenBytes">;

/** Stands for minus infinity, which JSON lacks; the value that OpenAI and vLLM use. */
const LOWEST_LOGPROB = -9999;

/** A log-probability as JSON takes it. */
export function finiteLogprob(logprob: number): number {
  return Number.isFinite(logprob) ? logprob : LOWEST_LOGPROB;
}

function describe(vocabulary: Vocabulary, token: TokenId, logprob: number) {
  return {
    token: vocabulary.tokenText(token),
    logprob: finiteLogprob(logprob),
    bytes: [...vocabulary.tokenBytes(token)],
  };
}

/** `choices[].logprobs` of `/v1/chat/completions`. */
export function chatLogprobs(vocabulary: Vocabulary, scored: readonly ScoredToken[]) {
  const content = scored.map(({ token, logprob, topLogprobs }) => ({
    ...describe(vocabulary, token, logprob),
    top_logprobs: topLogprobs.map((top) => describe(vocabulary, top.token, top.logprob)),
  }));
  return { content, refusal: null };
}

/** `choices[].logprobs` of `/v1/completions`: parallel arrays, `text_offset` in characters. */
export function completionLogprobs(vocabulary: Vocabulary, scored: readonly ScoredToken[]) {
  return {
    tokens: scored.map(({ token }) => vocabulary.tokenText(token)),
    token_logprobs: scored.map(({ logprob }) => finiteLogprob(logprob)),
    top_logprobs: scored.map((one) => topByText(vocabulary, one)),
    text_offset: scored.map(({ textOffset }) => textOffset),
  };
}

/** The likeliest tokens and the chosen one by text; of two with the same text, the likelier. */
function topByText(vocabulary: Vocabulary, scored: ScoredToken): Record<string, number> {
  const byText = new Map<string, number>();
  for (const { token, logprob } of [...scored.topLogprobs, scored]) {
    const text = vocabulary.tokenText(token);
    byText.set(text, Math.max(finiteLogprob(logprob), byText.get(text) ?? -Infinity));
  }
  return Object.fromEntries(byText);
}
