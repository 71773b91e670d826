/// <reference lib="dom" />
import { type Api, ApiError, errorOf } from "./api.ts";
import { cacheWords, type Decision } from "./cache_words.ts";
import type { AnswerFigures } from "./conversation.ts";
import { eventsOf } from "./event_stream.ts";

/** What has come of an answer since the last time. */
export interface AnswerPart {
  readonly content: string;
  readonly reasoning: string;
  readonly figures: AnswerFigures;
}

/** What a chunk of `/v1/chat/completions` has, as far as it is read. */
interface Chunk {
  readonly error?: { readonly message: string; readonly code?: string };
  readonly usage?: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number };
  };
  readonly timings?: { readonly prompt_ms: number; readonly predicted_per_second: number };
  readonly quire?: { readonly decisions: readonly Decision[] };
  readonly choices: readonly {
    readonly delta: { readonly content?: string; readonly reasoning_content?: string };
    readonly finish_reason?: string | null;
  }[];
}

/**
 * Asks for an answer, and gives its parts as they come.
 *
 * @param earlierTokens tokens of the conversation at the end of its last answer.
 * @throws {ApiError} where the server refuses, or fails in between.
 */
export async function* answerParts(
  api: Api,
  body: Record<string, unknown>,
  { earlierTokens, signal }: { earlierTokens: number | undefined; signal: AbortSignal },
): AsyncGenerator<AnswerPart> {
  const begunMs = performance.now();
  const init = { method: "POST", body: JSON.stringify(body), signal };
  const response = await api.fetch("v1/chat/completions", init);
  if (!response.ok || response.body === null) throw await errorOf(response);
  let figures: AnswerFigures = { answerTokens: 0 };
  let firstMs: number | undefined;
  for await (const chunk of eventsOf(response.body) as AsyncGenerator<Chunk>) {
    if (chunk.error !== undefined) throw new ApiError(chunk.error.message, 500, chunk.error.code);
    const [choice] = chunk.choices;
    const { content = "", reasoning_content: reasoning = "" } = choice?.delta ?? {};
    if (content !== "" || reasoning !== "") firstMs ??= performance.now();
    figures = figuresOf(figures, chunk, earlierTokens);
    // The server's own times come with the last chunk.
    if (chunk.timings === undefined && firstMs !== undefined) {
      figures = {
        ...figures,
        ...measured(figures, firstMs - begunMs, performance.now() - firstMs),
      };
    }
    yield { content, reasoning, figures };
  }
}

/** Times as the browser sees them. */
function measured({ answerTokens }: AnswerFigures, firstTokenMs: number, passedMs: number) {
  const rate = passedMs > 0 ? { tokensPerSecond: 1000 * (answerTokens - 1) / passedMs } : {};
  return { firstTokenMs, ...rate };
}

/** The figures with what a chunk says. */
function figuresOf(
  figures: AnswerFigures,
  { usage, timings, quire, choices: [choice] }: Chunk,
  earlierTokens: number | undefined,
): AnswerFigures {
  const finishReason = choice?.finish_reason ?? figures.finishReason;
  const ended = { ...figures, ...(finishReason === undefined ? {} : { finishReason }) };
  if (usage === undefined || usage === null) return ended;
  const promptTokens = usage.prompt_tokens;
  const cachedTokens = usage.prompt_tokens_details?.cached_tokens ?? 0;
  const earlier = earlierTokens === undefined ? {} : { earlierTokens };
  const use = { promptTokens, cachedTokens, ...earlier, decisions: quire?.decisions ?? [] };
  const isKnown = figures.cacheWords !== undefined && quire === undefined;
  return {
    ...ended,
    promptTokens,
    cachedTokens,
    answerTokens: usage.completion_tokens,
    cacheWords: isKnown ? figures.cacheWords! : cacheWords(use),
    ...(timings === undefined ? {} : {
      firstTokenMs: timings.prompt_ms,
      tokensPerSecond: timings.predicted_per_second,
    }),
  };
}
