import type { GenerationRequest } from "../core/generation.ts";
import type { TokenId } from "../core/ids.ts";
import type { TokenEvent } from "../core/token_event.ts";

/** Losses without a token in between after which a request is tried with no other beside it. */
const NUM_LOSSES_OF_SUSPECT = 2;
/** Losses without a token in between after which it is not tried again. */
export const MAX_LOSSES_WITHOUT_TOKEN = 3;

/** What is kept of one sequence. */
interface KeptSequence {
  /** Those that it has reported. */
  readonly tokens: TokenId[];
  hasEnded: boolean;
  /** Whether the client has asked for its end, which the engine may not have heard of. */
  isUnwanted: boolean;
}

/**
 * A request as the main isolate keeps it while an engine works on it: what was asked, and all that
 * has come of it. If the engine is lost, another goes on from there.
 *
 * At most prompt and answers in memory, 4 bytes and some 8 per token.
 */
export class KeptRequest {
  readonly #request: GenerationRequest;
  readonly #arrivedMs: number;
  readonly #sequences: readonly KeptSequence[];
  #numUnfinished: number;
  #numLosses = 0;
  #isAdmitted = false;
  #isUnanswered = false;

  /** @param nowMs when it arrives. */
  constructor(request: GenerationRequest, nowMs: number) {
    this.#request = request;
    this.#arrivedMs = nowMs;
    this.#numUnfinished = request.sequences.length;
    this.#sequences = request.sequences.map(() => ({
      tokens: [],
      hasEnded: false,
      isUnwanted: false,
    }));
  }

  /** Whether another engine may have it: what the server asks for itself, it asks for anew. */
  get isResumable(): boolean {
    return this.#request.isReheat !== true;
  }

  /** Whether engines may have been lost by it. */
  get isSuspect(): boolean {
    return this.#numLosses >= NUM_LOSSES_OF_SUSPECT;
  }

  /** Whether it is not to be tried again. */
  get isHopeless(): boolean {
    return this.#numLosses >= MAX_LOSSES_WITHOUT_TOKEN;
  }

  /** Whether the engine that had it last had admitted it, and has got no token of it. */
  get isUnanswered(): boolean {
    return this.#isUnanswered;
  }

  /** Sequences that have not ended. */
  get numUnfinished(): number {
    return this.#numUnfinished;
  }

  /** Their indices. */
  get unfinished(): readonly number[] {
    return this.#indicesOf(({ hasEnded }) => !hasEnded);
  }

  /** Those of them that the client does not want any more. */
  get unwanted(): readonly number[] {
    return this.#indicesOf(({ hasEnded, isUnwanted }) => !hasEnded && isUnwanted);
  }

  /** When it ends with an error, on the clock of `nowMs`; undefined: never. */
  get deadlineMs(): number | undefined {
    const { timeoutMs } = this.#request;
    return timeoutMs === undefined ? undefined : this.#arrivedMs + timeoutMs;
  }

  /** How long that is after its arrival. */
  get timeoutMs(): number | undefined {
    return this.#request.timeoutMs;
  }

  /** Tokens that a sequence has reported. */
  numTokensOf(index: number): number {
    return this.#sequences[index]!.tokens.length;
  }

  /** An engine has reported this of it. */
  take({ index, token, finishReason }: TokenEvent): void {
    const sequence = this.#sequences[index]!;
    if (token !== undefined) {
      sequence.tokens.push(token);
      this.#numLosses = 0;
      this.#isUnanswered = false;
    }
    if (finishReason === undefined || sequence.hasEnded) return;
    sequence.hasEnded = true;
    this.#numUnfinished--;
  }

  /** The client wants sequence `index` no more, or none; the answers of a search end together. */
  abort(index?: number): void {
    const { width = 1 } = this.#request.beamSearch ?? {};
    this.#sequences.forEach((sequence, i) => {
      const isMeant = index === undefined || Math.floor(i / width) === Math.floor(index / width);
      if (isMeant) sequence.isUnwanted = true;
    });
  }

  /** The engine that has it has admitted it to the step that it is about to run. */
  admit(): void {
    if (!this.#isAdmitted) this.#isUnanswered = true;
    this.#isAdmitted = true;
  }

  /** The engine that had it is lost; not by it, unless it had been admitted. */
  countLoss(): void {
    if (this.#isAdmitted) this.#numLosses++;
    this.#isAdmitted = false;
  }

  /** The request as an engine first gets it. */
  get asked(): GenerationRequest {
    return this.#request;
  }

  /** The request as an engine gets it that takes it over at `nowMs`. */
  resumed(nowMs: number): GenerationRequest {
    const sequences = this.#sequences.map(({ tokens, hasEnded }) => ({
      tokens: Uint32Array.from(tokens),
      hasEnded,
    }));
    return { ...this.#request, resumed: { sequences, elapsedMs: nowMs - this.#arrivedMs } };
  }

  #indicesOf(isMeant: (sequence: KeptSequence) => boolean): number[] {
    return this.#sequences.flatMap((sequence, index) => isMeant(sequence) ? [index] : []);
  }
}
