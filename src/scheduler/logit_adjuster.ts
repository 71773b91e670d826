import type { LogitAdjustment } from "../core/batch.ts";
import type { TokenId } from "../core/ids.ts";
import type { SamplingParams } from "../core/sampling_params.ts";
import type { TokenMatcher } from "../core/token_matcher.ts";
import { ThinkingBudget } from "./thinking_budget.ts";

/** Room for tokens before the arrays are first copied. */
const INITIAL_CAPACITY = 16;

/** Penalties that change nothing. */
const NEUTRAL = { repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0 };

/**
 * The effect of one sequence's parameters on the logits of its draws.
 *
 * Tokens are counted as they are drawn, never again: each has one entry, made when it is first
 * concerned. Being part of the sequence, the counts outlast a preemption, and where the KV of the
 * tokens came from makes no difference.
 *
 * At most one entry for each different token of prompt and output, bias and stop token; 12 bytes
 * each.
 */
export class LogitAdjuster {
  readonly #params: SamplingParams;
  /** Says which tokens may come, in place of the parameters. */
  readonly #matcher: Pick<TokenMatcher, "allowedTokens"> | undefined;
  readonly #thinking: ThinkingBudget | undefined;
  /** Whether drawn tokens are penalized, so that they must be counted. */
  readonly #countsOutputs: boolean;
  readonly #entryOf = new Map<TokenId, number>();
  /** Entries `[0, #entryOf.size)` of the three are live. */
  #tokens = new Uint32Array(INITIAL_CAPACITY);
  #counts = new Uint32Array(INITIAL_CAPACITY);
  #biases = new Float32Array(INITIAL_CAPACITY);
  /** Tokens still to be drawn before the stop tokens may be. */
  #numUntilStop: number;

  private constructor(
    params: SamplingParams,
    prompt: Uint32Array,
    matcher: Pick<TokenMatcher, "allowedTokens"> | undefined,
  ) {
    this.#params = params;
    this.#matcher = matcher;
    this.#thinking = params.thinkingBudget && new ThinkingBudget(params.thinkingBudget);
    this.#countsOutputs = hasPenalties(params);
    this.#numUntilStop = numTokensUntilStop(params);
    for (const [token, bias] of params.logitBias ?? []) this.#biases[this.#entry(token)] = bias;
    if (this.#numUntilStop > 0) this.#banStops();
    if ((params.repetitionPenalty ?? 1) === 1) return;
    for (const token of prompt) this.#counts[this.#entry(token)]! |= 1;
  }

  /**
   * The adjuster of a sequence about to begin, or undefined where its logits stay as they are.
   * O(prompt).
   */
  static create(
    params: SamplingParams,
    prompt: Uint32Array,
    matcher?: Pick<TokenMatcher, "allowedTokens">,
  ): LogitAdjuster | undefined {
    const isNeeded = hasPenalties(params) || numTokensUntilStop(params) > 0 ||
      (params.logitBias ?? []).length > 0 || params.allowedTokens !== undefined ||
      matcher !== undefined || params.thinkingBudget !== undefined;
    return isNeeded ? new LogitAdjuster(params, prompt, matcher) : undefined;
  }

  /** Takes note of a drawn token. Amortized O(1). */
  count(token: TokenId): void {
    this.#thinking?.count(token);
    if (this.#countsOutputs) this.#counts[this.#entry(token)]! += 2;
    if (this.#numUntilStop > 0 && --this.#numUntilStop === 0) this.#allowStops();
  }

  /**
   * A copy of the adjustment of the next draw; undefined without one. O(entries), the
   * bitmask is shared.
   */
  adjustment(): LogitAdjustment | undefined {
    if (!this.#hasEffect) return undefined;
    const { repetitionPenalty, frequencyPenalty, presencePenalty } = {
      ...NEUTRAL,
      ...this.#params,
    };
    const allowedTokens = this.#allowedTokens;
    const numEntries = this.#entryOf.size;
    return {
      ...{ repetitionPenalty, frequencyPenalty, presencePenalty },
      tokens: this.#tokens.slice(0, numEntries),
      counts: this.#counts.slice(0, numEntries),
      biases: this.#biases.slice(0, numEntries),
      ...(allowedTokens === undefined ? {} : { allowedTokens }),
    };
  }

  /** Whether it has no effect any more, whatever is drawn. */
  get isSpent(): boolean {
    return !this.#countsOutputs && this.#matcher === undefined &&
      (this.#thinking?.isOver ?? true) && !this.#hasEffect;
  }

  /**
   * Not before the first token where drawn ones are penalized; not after bans that were all there
   * was.
   */
  get #hasEffect(): boolean {
    const { logitBias = [] } = this.#params;
    const hasOutputs = this.#countsOutputs && this.#entryOf.size > 0;
    return this.#numUntilStop > 0 || hasOutputs || logitBias.length > 0 ||
      this.#allowedTokens !== undefined;
  }

  get #allowedTokens(): Uint32Array | undefined {
    return this.#thinking?.allowedTokens ?? this.#matcher?.allowedTokens ??
      this.#params.allowedTokens;
  }

  #banStops(): void {
    for (const token of this.#params.stopTokenIds) this.#biases[this.#entry(token)] = -Infinity;
  }

  #allowStops(): void {
    for (const token of this.#params.stopTokenIds) this.#biases[this.#entry(token)] = 0;
    for (const [token, bias] of this.#params.logitBias ?? []) {
      this.#biases[this.#entry(token)] = bias;
    }
  }

  #entry(token: TokenId): number {
    const known = this.#entryOf.get(token);
    if (known !== undefined) return known;
    const entry = this.#entryOf.size;
    if (entry === this.#tokens.length) this.#grow();
    this.#entryOf.set(token, entry);
    this.#tokens[entry] = token;
    return entry;
  }

  #grow(): void {
    const [tokens, counts, biases] = [this.#tokens, this.#counts, this.#biases];
    this.#tokens = new Uint32Array(2 * tokens.length);
    this.#counts = new Uint32Array(2 * tokens.length);
    this.#biases = new Float32Array(2 * tokens.length);
    this.#tokens.set(tokens);
    this.#counts.set(counts);
    this.#biases.set(biases);
  }
}

function hasPenalties(params: SamplingParams): boolean {
  const { repetitionPenalty, frequencyPenalty, presencePenalty } = { ...NEUTRAL, ...params };
  return repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
}

/** Without stop tokens there are none to hold back. */
function numTokensUntilStop({ minTokens = 0, stopTokenIds }: SamplingParams): number {
  return stopTokenIds.length === 0 ? 0 : minTokens;
}
