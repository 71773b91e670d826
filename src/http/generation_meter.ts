import type { FinishReason, TokenEvent } from "../core/token_event.ts";
import type { SequenceText } from "./sequence_text.ts";
import type { ServingMetrics } from "./serving_metrics.ts";

/** Measures one request for `/metrics`, each of its sequences by itself as vLLM does. */
export class GenerationMeter {
  readonly #metrics: ServingMetrics;
  readonly #now: () => number;
  /** When the request arrived, ms of {@link now}. */
  readonly #arrivedMs: number;
  /** When the first token of all came. */
  #firstTokenMs: number | undefined;
  /** When each sequence's latest token came, by index. */
  readonly #lastTokenMs = new Map<number, number>();

  constructor(metrics: ServingMetrics, now: () => number) {
    this.#metrics = metrics;
    this.#now = now;
    this.#arrivedMs = now();
  }

  /** Records a token event of a sequence, before its text is assembled. */
  observeEvent({ index, token }: TokenEvent): void {
    if (token === undefined) return;
    const now = this.#now();
    const last = this.#lastTokenMs.get(index);
    this.#lastTokenMs.set(index, now);
    this.#firstTokenMs ??= now;
    if (last === undefined) this.#metrics.observeFirstToken((now - this.#arrivedMs) / 1000);
    else this.#metrics.observeNextToken((now - last) / 1000);
  }

  /** Records that a sequence has ended for `reason`. */
  observeEnd(
    { numTokens }: Pick<SequenceText, "numTokens">,
    reason: FinishReason,
    numPromptTokens: number,
  ): void {
    this.#metrics.observeFinish({
      reason,
      numPromptTokens,
      numGeneratedTokens: numTokens,
      seconds: this.elapsedMs() / 1000,
    });
  }

  /** Milliseconds until the first token of all, or until now, and from there to the last. */
  times(): { readonly promptMs: number; readonly predictedMs: number } {
    const first = this.#firstTokenMs ?? this.#now();
    const last = Math.max(first, ...this.#lastTokenMs.values());
    return { promptMs: first - this.#arrivedMs, predictedMs: last - first };
  }

  /** Milliseconds since the request arrived. */
  elapsedMs(): number {
    return this.#now() - this.#arrivedMs;
  }
}
