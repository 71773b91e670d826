import type { Generation } from "../../core/generation.ts";
import type { FinishReason, TokenEvent } from "../../core/token_event.ts";
import type { GenerationMeter } from "../metrics/generation_meter.ts";
import { engineFailure } from "../refusals.ts";
import type { SequenceText, TextPiece } from "./sequence_text.ts";

/** Token counts of a request, as every answer reports them. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

/** The prompts of a request: sequence `i` is sample `i % numSamples` of prompt `i / numSamples`. */
export interface CollectorShape {
  /** Length of each prompt in tokens. */
  readonly promptLens: readonly number[];
  readonly numSamples: number;
}

/** Is shown the events of a request, and their end. */
export interface EventWatch {
  observe(event: TokenEvent): void;
  end(): void;
}

/**
 * Turns the events of one request into pieces of text and exact counts, for chat and completions,
 * streamed or not. A sequence whose stop string is found is aborted at once, and its later events
 * are dropped.
 */
export class Collector {
  readonly #shape: CollectorShape;
  readonly #texts: readonly SequenceText[];
  readonly #meter: GenerationMeter;
  readonly #watch: EventWatch | undefined;
  /** Cached tokens of each prompt: those of its first sample, since a prompt counts once. */
  readonly #numCached: number[];
  #numUnfinished: number;

  constructor(
    shape: CollectorShape,
    texts: readonly SequenceText[],
    meter: GenerationMeter,
    watch?: EventWatch,
  ) {
    this.#shape = shape;
    this.#texts = texts;
    this.#meter = meter;
    this.#watch = watch;
    this.#numCached = shape.promptLens.map(() => 0);
    this.#numUnfinished = texts.length;
  }

  /**
   * Yields the pieces of each engine step until every sequence has ended.
   *
   * @throws {RequestError} with the error of a sequence that failed; the others are aborted.
   */
  async *pieces(generation: Generation): AsyncGenerator<readonly TextPiece[]> {
    // The loop is left early by a client that disconnects, or by a failure of the engine.
    let lastReason: FinishReason = "abort";
    try {
      for await (const events of generation.events) {
        const pieces = events.flatMap((event) => this.#take(event, generation));
        if (pieces.length > 0) yield pieces;
        if (this.#numUnfinished === 0) return;
      }
      throw new Error(`The engine ended with ${this.#numUnfinished} sequences unfinished`);
    } catch (error) {
      lastReason = "error";
      throw error;
    } finally {
      this.#endUnfinished(lastReason);
      this.#observePrompts();
      const { prompt_tokens: numPromptTokens, prompt_tokens_details } = this.usage();
      this.#meter.end({ numPromptTokens, numCachedTokens: prompt_tokens_details.cached_tokens });
      this.#watch?.end();
    }
  }

  /** Counts so far; exact once {@link pieces} has ended. */
  usage(): Usage {
    const promptTokens = sum(this.#shape.promptLens);
    const completionTokens = sum(this.#texts.map(({ numTokens }) => numTokens));
    return {
      prompt_tokens: promptTokens,
      completion_tokens: completionTokens,
      total_tokens: promptTokens + completionTokens,
      prompt_tokens_details: { cached_tokens: sum(this.#numCached) },
    };
  }

  #take(event: TokenEvent, generation: Generation): TextPiece[] {
    const { index, numCachedTokens, error } = event;
    const text = this.#texts[index];
    if (text === undefined || text.finish !== undefined) return [];
    if (event.finishReason === "error") {
      throw engineFailure(error);
    }
    const { numSamples } = this.#shape;
    if (numCachedTokens !== undefined && index % numSamples === 0) {
      this.#numCached[index / numSamples] = numCachedTokens;
    }
    this.#meter.observeEvent(event);
    this.#watch?.observe(event);
    const piece = text.push(event);
    if (piece.finish !== undefined) {
      this.#numUnfinished--;
      this.#observeEnd(index, piece.finish.reason);
      // A stop string is found here, not in the engine, which counts the sequence as aborted.
      if (event.finishReason === undefined) generation.abort(index);
    }
    return [piece];
  }

  #promptLen(index: number): number {
    return this.#shape.promptLens[Math.floor(index / this.#shape.numSamples)]!;
  }

  #endUnfinished(reason: FinishReason): void {
    for (const [index, text] of this.#texts.entries()) {
      if (text.finish !== undefined) continue;
      this.#observeEnd(index, reason);
    }
  }

  #observeEnd(index: number, reason: FinishReason): void {
    const { numTokens } = this.#texts[index]!;
    this.#meter.observeEnd({ index, numTokens, numPromptTokens: this.#promptLen(index) }, reason);
  }

  /** Each prompt with all its samples, which have ended. */
  #observePrompts(): void {
    const { promptLens, numSamples } = this.#shape;
    for (const prompt of promptLens.keys()) {
      const samples = this.#texts.slice(prompt * numSamples, (prompt + 1) * numSamples);
      const numTokens = Math.max(...samples.map((text) => text.numTokens));
      this.#meter.observePrompt({ numSamples, numTokens });
    }
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
