import type { GenerationMeter } from "../metrics/generation_meter.ts";
import type { Usage } from "./collector.ts";

/**
 * The times of a request in llama.cpp's words, ms: from its arrival to its first token, and from
 * there to its last. What waits in a queue is part of the first.
 */
export function timingsOf(meter: GenerationMeter, usage: Usage) {
  const { promptMs, predictedMs } = meter.times();
  const { prompt_tokens, completion_tokens, prompt_tokens_details: { cached_tokens } } = usage;
  const numComputed = prompt_tokens - cached_tokens;
  return {
    cache_n: cached_tokens,
    prompt_n: numComputed,
    prompt_ms: promptMs,
    prompt_per_token_ms: ratio(promptMs, numComputed),
    prompt_per_second: ratio(1000 * numComputed, promptMs),
    predicted_n: completion_tokens,
    predicted_ms: predictedMs,
    predicted_per_token_ms: ratio(predictedMs, completion_tokens),
    predicted_per_second: ratio(1000 * completion_tokens, predictedMs),
  };
}

/** 0 where nothing was done, since JSON has no infinity. */
function ratio(a: number, b: number): number {
  return b > 0 ? a / b : 0;
}
