import type { GenerationRequest, SequenceRequest } from "../../core/generation.ts";
import type { RequestId } from "../../core/ids.ts";
import type { FinishReason, TokenEvent } from "../../core/token_event.ts";
import type { ServingMetrics } from "./serving_metrics.ts";
import { type EndedSpan, spanOf } from "../traces/spans.ts";

/** A sequence that has a token, ms of the meter's clock. */
interface SequenceWithToken {
  readonly firstTokenMs: number;
  lastTokenMs: number;
  readonly numCachedTokens: number | undefined;
}

/** What spans call a request. */
export interface NamedRequest {
  /** As of OpenTelemetry's `gen_ai.operation.name`. */
  readonly operation: string;
  readonly model: string;
}

/** Tokens of all prompts of a request, each counted once. */
export interface PromptCounts {
  readonly numPromptTokens: number;
  readonly numCachedTokens: number;
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
  /** What is known of each sequence that has a token, by index. */
  readonly #withToken = new Map<number, SequenceWithToken>();
  /** Takes the span of the request, where somebody wants it. */
  readonly #record: ((span: EndedSpan) => void) | undefined;
  /** From here to Unix time, ms. */
  readonly #unixMs: number;
  #tokenized: { readonly startMs: number; readonly endMs: number } | undefined;
  readonly #ends: EndedSequence[] = [];
  readonly #finishReasons: FinishReason[] = [];
  #named: NamedRequest | undefined;
  #requestId: RequestId | undefined;
  #sequences: readonly SequenceRequest[] = [];

  constructor(metrics: ServingMetrics, now: () => number) {
    this.#metrics = metrics;
    this.#now = now;
    this.#arrivedMs = now();
    this.#unixMs = Date.now() - this.#arrivedMs;
    this.#record = metrics.spans?.here();
  }

  /** Measures how long the request's text takes to become token ids. */
  async tokenize<T>(work: () => Promise<T>): Promise<T> {
    const startMs = this.#now();
    const value = await this.#metrics.prepare("tokenize", work);
    this.#tokenized = { startMs: startMs + this.#unixMs, endMs: this.#now() + this.#unixMs };
    return value;
  }

  /** Counts the request as waiting for a grammar. */
  compile<T>(work: () => Promise<T>): Promise<T> {
    return this.#metrics.prepare("grammar", work);
  }

  /** The engine has accepted the request. */
  accepted(
    { id, sequences }: Pick<GenerationRequest, "id" | "sequences">,
    named: NamedRequest,
  ): void {
    this.#requestId = id;
    this.#sequences = sequences;
    this.#named = named;
  }

  /** Records a token event of a sequence, before its text is assembled. */
  observeEvent({ index, token, numCachedTokens }: TokenEvent): void {
    if (token === undefined) return;
    const now = this.#now();
    const known = this.#withToken.get(index);
    this.#firstTokenMs ??= now;
    if (known === undefined) {
      this.#withToken.set(index, { firstTokenMs: now, lastTokenMs: now, numCachedTokens });
      this.#metrics.observeFirstToken((now - this.#arrivedMs) / 1000);
    } else {
      this.#metrics.observeNextToken((now - known.lastTokenMs) / 1000);
      known.lastTokenMs = now;
    }
  }

  /** Records that sequence `index` has ended for `reason`, after `numTokens` tokens. */
  observeEnd(
    { index, numTokens, numPromptTokens }: EndedSequence,
    reason: FinishReason,
  ): void {
    const known = this.#withToken.get(index);
    this.#ends.push({ index, numTokens, numPromptTokens });
    this.#finishReasons.push(reason);
    this.#metrics.observeFinish({
      ...(this.#requestId === undefined ? {} : { requestId: this.#requestId }),
      index,
      reason,
      numPromptTokens,
      numCachedTokens: known?.numCachedTokens,
      numGeneratedTokens: numTokens,
      maxTokens: this.#sequences[index]?.params.maxTokens,
      seconds: this.elapsedMs() / 1000,
      decodeSeconds: known && (known.lastTokenMs - known.firstTokenMs) / 1000,
    });
  }

  /** Records that all samples of a prompt have ended. */
  observePrompt(prompt: { readonly numSamples: number; readonly numTokens: number }): void {
    this.#metrics.observePrompt(prompt);
  }

  /** The request is over: all its sequences have ended. */
  end({ numPromptTokens, numCachedTokens }: PromptCounts): void {
    const [first] = this.#sequences;
    if (this.#record === undefined || this.#named === undefined || first === undefined) return;
    const { requestTraces } = this.#metrics;
    const arrivedMs = this.#arrivedMs + this.#unixMs;
    this.#record(spanOf({
      ...{ id: this.#requestId!, ...this.#named, params: first.params },
      numSequences: this.#sequences.length,
      ...{ arrivedMs, endedMs: this.#now() + this.#unixMs, tokenized: this.#tokenized },
      ...{ numPromptTokens, numCachedTokens },
      numGeneratedTokens: this.#ends.reduce((sum, { numTokens }) => sum + numTokens, 0),
      finishReasons: this.#finishReasons,
      firstTokenMs: this.#firstTokenMs && this.#firstTokenMs - this.#arrivedMs,
    }, requestTraces));
  }

  /** Milliseconds until the first token of all, or until now, and from there to the last. */
  times(): { readonly promptMs: number; readonly predictedMs: number } {
    const first = this.#firstTokenMs ?? this.#now();
    const last = Math.max(
      first,
      ...[...this.#withToken.values()].map(({ lastTokenMs }) => lastTokenMs),
    );
    return { promptMs: first - this.#arrivedMs, predictedMs: last - first };
  }

  /** Milliseconds since the request arrived. */
  elapsedMs(): number {
    return this.#now() - this.#arrivedMs;
  }
}
