import type { GenerationRequest, SequenceRequest } from "../core/generation.ts";
import type { RequestId } from "../core/ids.ts";
import type { FinishReason, TokenEvent } from "../core/token_event.ts";
import type { ServingMetrics } from "./serving_metrics.ts";

/** A sequence that has a token, ms of the meter's clock. */
interface BegunSequence {
  readonly firstTokenMs: number;
  lastTokenMs: number;
  readonly numCachedTokens: number | undefined;
}

/** A sequence that has ended. */
export interface EndedSequence {
  readonly index: number;
  readonly numTokens: number;
  readonly numPromptTokens: number;
}

/** Measures one request for `/metrics`, each of its sequences by itself as vLLM does. */
export class GenerationMeter {
  readonly #metrics: ServingMetrics;
  readonly #now: () => number;
  /** When the request arrived, ms of {@link now}. */
  readonly #arrivedMs: number;
  /** When the first token of all came. */
  #firstTokenMs: number | undefined;
  /** What is known of each sequence that has begun, by index. */
  readonly #begun = new Map<number, BegunSequence>();
  #requestId: RequestId | undefined;
  #sequences: readonly SequenceRequest[] = [];

  constructor(metrics: ServingMetrics, now: () => number) {
    this.#metrics = metrics;
    this.#now = now;
    this.#arrivedMs = now();
  }

  /** The engine has accepted the request. */
  accepted({ id, sequences }: Pick<GenerationRequest, "id" | "sequences">): void {
    this.#requestId = id;
    this.#sequences = sequences;
  }

  /** Records a token event of a sequence, before its text is assembled. */
  observeEvent({ index, token, numCachedTokens }: TokenEvent): void {
    if (token === undefined) return;
    const now = this.#now();
    const begun = this.#begun.get(index);
    this.#firstTokenMs ??= now;
    if (begun === undefined) {
      this.#begun.set(index, { firstTokenMs: now, lastTokenMs: now, numCachedTokens });
      this.#metrics.observeFirstToken((now - this.#arrivedMs) / 1000);
    } else {
      this.#metrics.observeNextToken((now - begun.lastTokenMs) / 1000);
      begun.lastTokenMs = now;
    }
  }

  /** Records that sequence `index` has ended for `reason`, after `numTokens` tokens. */
  observeEnd(
    { index, numTokens, numPromptTokens }: EndedSequence,
    reason: FinishReason,
  ): void {
    const begun = this.#begun.get(index);
    this.#metrics.observeFinish({
      ...(this.#requestId === undefined ? {} : { requestId: this.#requestId }),
      index,
      reason,
      numPromptTokens,
      numCachedTokens: begun?.numCachedTokens,
      numGeneratedTokens: numTokens,
      maxTokens: this.#sequences[index]?.params.maxTokens,
      seconds: this.elapsedMs() / 1000,
      decodeSeconds: begun && (begun.lastTokenMs - begun.firstTokenMs) / 1000,
    });
  }

  /** Records that all samples of a prompt have ended. */
  observePrompt(prompt: { readonly numSamples: number; readonly numTokens: number }): void {
    this.#metrics.observePrompt(prompt);
  }

  /** Milliseconds until the first token of all, or until now, and from there to the last. */
  times(): { readonly promptMs: number; readonly predictedMs: number } {
    const first = this.#firstTokenMs ?? this.#now();
    const last = Math.max(
      first,
      ...[...this.#begun.values()].map(({ lastTokenMs }) => lastTokenMs),
    );
    return { promptMs: first - this.#arrivedMs, predictedMs: last - first };
  }

  /** Milliseconds since the request arrived. */
  elapsedMs(): number {
    return this.#now() - this.#arrivedMs;
  }
}
