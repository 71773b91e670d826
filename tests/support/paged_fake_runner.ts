import {
  type Batch,
  type BlockMove,
  type ChunkOutput,
  type ChunkResult,
  type DrawRequest,
  type LogitAdjustment,
  numDecodeStepsOf,
  type ScheduledChunk,
  type TokenLogprob,
} from "../../src/core/batch.ts";
import { type CacheSpec, NO_BLOCK } from "../../src/core/cache_group.ts";
import type { TokenId } from "../../src/core/ids.ts";
import type { PromptReadout, PromptReport } from "../../src/core/prompt_readout.ts";
import type { SamplingParams } from "../../src/core/sampling_params.ts";
import type { SwapSpace } from "../../src/core/swap_space.ts";
import type { FinishReason } from "../../src/core/token_event.ts";
import { FULL } from "./kv_groups.ts";

/** The fake model's tokens are `[0, FAKE_VOCAB_SIZE)`: few, so that stop tokens are drawn often. */
export const FAKE_VOCAB_SIZE = 17;

/** What no token writes: a slot read before it was written shows as a wrong token. */
const POISON = 0xdeadbeef;

function mix(hash: number, value: number): number {
  const product = Math.imul(hash ^ value, 0x85ebca6b);
  return (product ^ (product >>> 13)) >>> 0;
}

/** What the fake model keeps of one token at one position: its "KV", another in long contexts. */
function kvOf(token: TokenId, position: number, isLongContext = false): number {
  return mix(mix(isLongContext ? 0x01000193 : 0x811c9dc5, token), position);
}

/** The fake model's next token, from the KV of all tokens so far and the draw. */
function draw(
  kv: readonly number[],
  { seed, outputIndex }: Pick<DrawRequest, "seed" | "outputIndex">,
  adjustment: Adjusted | undefined,
) {
  let hash = mix(seed, outputIndex);
  if (adjustment !== undefined) {
    for (const value of numbersOf(adjustment)) hash = mix(hash, value);
  }
  for (const value of kv) hash = mix(hash, value);
  return hash % FAKE_VOCAB_SIZE;
}

/**
 * The fake model's likeliest next tokens of `[0, vocabSize)`, best first, from the KV of all tokens
 * so far. Few different probabilities, so that ties are common.
 */
function likeliest(kv: Iterable<number>, count: number, vocabSize: number): TokenLogprob[] {
  let hash = 0x2545f491;
  for (const value of kv) hash = mix(hash, value);
  const weights = Array.from({ length: vocabSize }, (_, token) => 1 + mix(hash, token) % 12);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const tokens = weights.map((_, token) => token)
    .sort((a, b) => weights[b]! - weights[a]! || a - b);
  return tokens.slice(0, count)
    .map((token) => ({ token, logprob: Math.log(weights[token]! / total) }));
}

/** The fake model's log-probability of a token, from the KV of all before it. */
function fakeLogprob(kv: Iterable<number>, token: TokenId): number {
  let hash = 0x27d4eb2f;
  for (const value of kv) hash = mix(hash, value);
  return -(mix(hash, token) % 4096) / 256;
}

/** What is read of a prompt by definition, alone; its vector has one element. */
export function readAlone(
  prompt: readonly TokenId[],
  { numLogprobs, nextTokens, pooling }: PromptReadout,
): PromptReport {
  const kv = prompt.map((token, position) => kvOf(token, position));
  const score = (token: TokenId, length: number) => ({
    token,
    logprob: fakeLogprob(kv.slice(0, length), token),
    topLogprobs: [],
  });
  const hidden = kv.map((value) => value % 1024);
  const mean = hidden.reduce((sum, value) => sum + value, 0) / hidden.length;
  const one = { mean, last: hidden.at(-1)!, cls: hidden[0]! };
  return {
    ...(numLogprobs === undefined
      ? {}
      : { scores: prompt.slice(1).map((token, i) => score(token, i + 1)) }),
    ...(nextTokens === undefined
      ? {}
      : { nextScores: nextTokens.map((token) => score(token, prompt.length)) }),
    ...(pooling === undefined ? {} : { vector: Float32Array.of(one[pooling]) }),
  };
}

/** The fake model's likeliest next tokens after `tokens`, by definition. */
export function likeliestAfter(
  tokens: Iterable<number>,
  count: number,
  vocabSize = FAKE_VOCAB_SIZE,
  shortContextLen = Infinity,
): TokenLogprob[] {
  return likeliest(kvOfAll([...tokens], shortContextLen), count, vocabSize);
}

/** The KV of a sequence, all of which depends on how long it is. */
function kvOfAll(tokens: readonly TokenId[], shortContextLen: number): number[] {
  return tokens.map((token, i) => kvOf(token, i, tokens.length > shortContextLen));
}

/** What is asked of the logits of a draw, with an entry for each token concerned. */
interface Adjusted extends Omit<LogitAdjustment, "tokens" | "counts" | "biases" | "allowedTokens"> {
  readonly allowedTokens?: Uint32Array | undefined;
  readonly entries: readonly (readonly [token: number, count: number, bias: number])[];
}

/** The same of what a batch says. */
function adjustedBy(adjustment: LogitAdjustment | undefined): Adjusted | undefined {
  if (adjustment === undefined) return undefined;
  const { tokens, counts, biases, ...others } = adjustment;
  const entries: [number, number, number][] = [];
  for (let i = 0; i < tokens.length; i++) entries.push([tokens[i]!, counts[i]!, biases[i]!]);
  return { ...others, entries };
}

/** Everything an adjustment says, by ascending token. */
function numbersOf({ entries, allowedTokens, ...penalties }: Adjusted): number[] {
  const { repetitionPenalty, frequencyPenalty, presencePenalty } = penalties;
  const numbers = [repetitionPenalty, frequencyPenalty, presencePenalty].map((p) => 1000 * p);
  for (const [token, count, bias] of entries.toSorted(([a], [b]) => a - b)) {
    numbers.push(token, count, 1000 * bias);
  }
  for (const word of allowedTokens ?? []) numbers.push(word);
  return numbers;
}

/** The adjustment by definition: everything counted anew for each draw. */
function adjustmentOf(
  prompt: readonly number[],
  outputs: readonly number[],
  params: SamplingParams,
): Adjusted | undefined {
  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = params;
  const { logitBias = [], minTokens = 0, stopTokenIds, allowedTokens } = params;
  const isPenalized = repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
  const hasBans = outputs.length < minTokens && stopTokenIds.length > 0;
  if (!isPenalized && !hasBans && logitBias.length === 0 && !allowedTokens) return undefined;
  const isBanned = (token: number) => outputs.length < minTokens && stopTokenIds.includes(token);
  const tokens = new Set<number>();
  for (const [token] of logitBias) tokens.add(token);
  if (minTokens > 0) { for (const token of stopTokenIds) tokens.add(token); }
  if (repetitionPenalty !== 1) { for (const token of prompt) tokens.add(token); }
  if (isPenalized) { for (const token of outputs) tokens.add(token); }
  const hasPenalties = isPenalized && tokens.size > 0;
  if (!hasPenalties && !hasBans && logitBias.length === 0 && !allowedTokens) return undefined;
  const numDrawn = (token: number) => outputs.filter((drawn) => drawn === token).length;
  const countOf = (token: number) =>
    (isPenalized ? 2 * numDrawn(token) : 0) +
    (repetitionPenalty !== 1 && prompt.includes(token) ? 1 : 0);
  const biasOf = (token: number) =>
    isBanned(token)
      ? -Infinity
      : Math.fround(logitBias.find(([biased]) => biased === token)?.[1] ?? 0);
  const entries: [number, number, number][] = [];
  for (const token of tokens) entries.push([token, countOf(token), biasOf(token)]);
  return { repetitionPenalty, frequencyPenalty, presencePenalty, entries, allowedTokens };
}

/** What a sequence generates by definition, alone: no blocks, no batches, no chunks. */
export function generateAlone(
  prompt: Iterable<number>,
  params: SamplingParams,
  maxModelLen: number,
  { cache = FULL, allowedAfter, shortContextLen = Infinity }: {
    readonly cache?: CacheSpec;
    readonly shortContextLen?: number;
    /** What a grammar allows after some outputs. */
    readonly allowedAfter?: (outputs: readonly number[]) => Uint32Array;
  } = {},
): { tokens: number[]; finishReason: FinishReason } {
  const promptTokens = [...prompt];
  const tokens: number[] = [];
  while (true) {
    const kv = kvOfAll([...promptTokens, ...tokens], shortContextLen);
    const allowed = allowedAfter && { ...params, allowedTokens: allowedAfter(tokens) };
    const adjustment = adjustmentOf(promptTokens, tokens, allowed ?? params);
    const read = readBy(cache, kv.length - 1).map((position) => kv[position]!);
    const token = draw(read, { seed: params.seed, outputIndex: tokens.length }, adjustment);
    tokens.push(token);
    if (params.stopTokenIds.includes(token)) return { tokens, finishReason: "stop" };
    if (tokens.length === params.maxTokens || kv.length + 1 === maxModelLen) {
      return { tokens, finishReason: "length" };
    }
  }
}

/** The positions that the query at `query` reads, one by one. */
function readBy(cache: CacheSpec, query: number): number[] {
  const isWindow = cache.kind === "sliding_window";
  const sinks = isWindow ? cache.numSinkTokens ?? 0 : 0;
  const first = isWindow
    ? Math.max(0, query - cache.window + 1)
    : cache.kind === "chunked_local"
    ? query - query % cache.window
    : 0;
  const read: number[] = [];
  for (let position = 0; position < Math.min(sinks, first); position++) read.push(position);
  for (let position = first; position <= query; position++) read.push(position);
  return read;
}

/** The fake model's state after positions with this KV. */
function stateOf(kv: Iterable<number>, before = 0x1b873593): number {
  let state = before;
  for (const value of kv) state = mix(state, value);
  return state;
}

/** The chunks of a further step, each of the token that its sequence has drawn last. */
function further(
  chunks: readonly ScheduledChunk[],
  step: number,
  drawn: ReadonlyMap<number, readonly ChunkOutput[]>,
): ScheduledChunk[] {
  return chunks.flatMap((chunk) => {
    const last = drawn.get(chunk.sequenceId)?.at(-1);
    if (numDecodeStepsOf(chunk) <= step || last?.type !== "token") return [];
    const next = { ...chunk.draw!, outputIndex: chunk.draw!.outputIndex + step };
    return [{
      ...chunk,
      tokens: Uint32Array.of(last.token),
      start: chunk.start + step,
      draw: next,
    }];
  });
}

/**
 * A model without arithmetic over a paged KV store: it writes and reads only through the block
 * tables it is given, so a block that is shared, stale or missing shows as a wrong token.
 *
 * Its draws come from what its first group reads. The other groups have layers that keep the same
 * per position, or sum it up in a state; whatever they read is compared with the first.
 */
export class PagedFakeRunner {
  readonly #blockSize: number;
  readonly #vocabSize: number;
  readonly #groups: readonly CacheSpec[];
  readonly #blocksPerSlab: readonly number[];
  /** Per group, `[block][offset]`. */
  #slots: Uint32Array[];
  /** Host memory, likewise by host block. */
  readonly #host: Uint32Array[];
  /** Every so many sequences that are loaded, host memory has lost one; default: none. */
  loseEvery = Infinity;
  /** Sequences loaded, and those of them that were lost. */
  numLoaded = 0;
  numLost = 0;
  /** Refuses more blocks than this, as a device without room does. */
  maxNumBlocks = Infinity;
  /**
   * A token whose KV is no number, so that nothing can be drawn after it; default: there is none.
   */
  poison: TokenId | undefined;
  readonly batches: Batch[] = [];

  /** Candidates are reported of `[0, vocabSize)`; draws are always of `FAKE_VOCAB_SIZE`. */
  constructor(
    {
      numBlocks,
      blockSize,
      vocabSize = FAKE_VOCAB_SIZE,
      groups = [FULL],
      blocksPerSlab,
      swapSpace,
    }: {
      numBlocks: number;
      blockSize: number;
      vocabSize?: number;
      groups?: readonly CacheSpec[];
      blocksPerSlab?: readonly number[];
      swapSpace?: SwapSpace;
    },
  ) {
    this.#blockSize = blockSize;
    this.#vocabSize = vocabSize;
    this.#groups = groups;
    this.#blocksPerSlab = blocksPerSlab ?? groups.map(() => 1);
    this.#slots = this.#makeSlots(numBlocks);
    this.#host = this.#makeSlots(swapSpace?.numSlabs ?? 0);
  }

  run(planned: Batch): ChunkResult[] {
    this.batches.push(planned);
    const lost = this.#swap(planned);
    const chunks = planned.chunks.filter(({ sequenceId }) => !lost.has(sequenceId));
    const computed = this.#compute({ ...planned, chunks });
    if (lost.size === 0) return computed;
    return planned.chunks.flatMap(({ sequenceId }) =>
      lost.has(sequenceId)
        ? [{ sequenceId, outputs: [{ type: "corrupt" as const }] }]
        : computed.filter((result) => result.sequenceId === sequenceId)
    );
  }

  /** Copies blocks out and in; returns the sequences whose blocks it has lost. */
  #swap({ swapOuts = [], swapIns = [] }: Batch): ReadonlySet<number> {
    const size = this.#blockSize;
    for (const { group, block, hostBlock } of swapOuts) {
      const from = this.#slots[group]!.subarray(block * size, (block + 1) * size);
      this.#host[group]!.set(from, hostBlock * size);
    }
    const lost = new Set<number>();
    for (const id of new Set(swapIns.map(({ sequenceId }) => sequenceId))) {
      if (++this.numLoaded % this.loseEvery === 0) lost.add(id);
    }
    this.numLost += lost.size;
    for (const { sequenceId, group, block, hostBlock } of swapIns) {
      const from = this.#host[group]!.subarray(hostBlock * size, (hostBlock + 1) * size);
      if (lost.has(sequenceId)) from.fill(POISON);
      this.#slots[group]!.set(from, block * size);
    }
    return lost;
  }

  #compute(batch: Batch): ChunkResult[] {
    for (const { group, from, to, numTokens } of batch.copies ?? []) {
      const start = from * this.#blockSize;
      this.#slots[group]!.copyWithin(to * this.#blockSize, start, start + numTokens);
    }
    const results = this.#runStep(batch.chunks);
    const drawn = new Map(results.map((result) => [result.sequenceId, [...result.outputs]]));
    for (let step = 1; batch.chunks.some((chunk) => numDecodeStepsOf(chunk) > step); step++) {
      for (const { sequenceId, outputs } of this.#runStep(further(batch.chunks, step, drawn))) {
        drawn.get(sequenceId)!.push(...outputs);
      }
    }
    return results.map(({ sequenceId }) => ({ sequenceId, outputs: drawn.get(sequenceId)! }));
  }

  #runStep(chunks: readonly ScheduledChunk[]): ChunkResult[] {
    // All writes come first, as on a device: a slot written twice in one step is then always wrong.
    for (const chunk of chunks) {
      this.#groups.forEach((cache, group) => {
        if (cache.kind === "state") this.#advance(chunk, group);
        else {
          chunk.tokens.forEach((token, i) => {
            const slot = this.#slot(chunk, chunk.start + i, group);
            this.#slots[group]![slot] = kvOf(token, chunk.start + i, chunk.isLongContext);
          });
        }
      });
    }
    for (const chunk of chunks) this.#checkReads(chunk);
    return chunks.flatMap((chunk) => {
      const outputs = this.#outputs(chunk);
      const failed = outputs.find(({ type }) => type === "failed");
      if (outputs.length === 0) return [];
      return [{ sequenceId: chunk.sequenceId, outputs: failed === undefined ? outputs : [failed] }];
    });
  }

  /**
   * As a device does it: what is not below the new end is gone, whether or not it has been moved.
   */
  resizeKv(numBlocks: number, moves: readonly BlockMove[]): Promise<void> {
    if (numBlocks > this.maxNumBlocks) return Promise.reject(new RangeError("no room"));
    const size = this.#blockSize;
    for (const { group, from, to } of moves) {
      this.#slots[group]!.copyWithin(to * size, from * size, (from + 1) * size);
      this.#slots[group]!.fill(POISON, from * size, (from + 1) * size);
    }
    const slots = this.#makeSlots(numBlocks);
    slots.forEach((each, group) => each.set(this.#slots[group]!.subarray(0, each.length)));
    this.#slots = slots;
    return Promise.resolve();
  }

  #makeSlots(numBlocks: number): Uint32Array[] {
    return this.#blocksPerSlab.map((count) =>
      new Uint32Array(numBlocks * count * this.#blockSize).fill(POISON)
    );
  }

  /** Overwrites a state in place. */
  #advance({ tokens, start, blockTables, isLongContext }: ScheduledChunk, group: number): void {
    const slot = blockTables[group]![0]! * this.#blockSize;
    const before = start === 0 ? undefined : this.#slots[group]![slot];
    const kv = Array.from(tokens, (token, i) => kvOf(token, start + i, isLongContext));
    this.#slots[group]!.fill(stateOf(kv, before), slot, slot + this.#blockSize);
  }

  /** That all groups read what the first has of the same positions. */
  #checkReads(chunk: ScheduledChunk): void {
    const { tokens, start, blockTables } = chunk;
    const end = start + tokens.length;
    const first = (position: number) => this.#slots[0]![this.#slot(chunk, position, 0)]!;
    this.#groups.forEach((cache, group) => {
      if (group === 0) return;
      if (cache.kind === "state") {
        const state = stateOf(Array.from({ length: end }, (_, position) => first(position)));
        const slot = blockTables[group]![0]! * this.#blockSize;
        if (this.#slots[group]![slot] !== state) throw new Error(`a wrong state at ${end}`);
        return;
      }
      for (let query = start; query < end; query++) {
        for (const position of readBy(cache, query)) {
          if (this.#slots[group]![this.#slot(chunk, position, group)] === first(position)) continue;
          throw new Error(`position ${position} of group ${group} is wrong for ${query}`);
        }
      }
    });
  }

  #outputs(chunk: ScheduledChunk): ChunkOutput[] {
    const { draw, score, pooling, start } = chunk;
    const outputs: ChunkOutput[] = [];
    const kvAt = (row: number) => this.#slots[0]![this.#slot(chunk, start + row, 0)]!;
    if (score !== undefined) {
      const scores = Array.from(score.rows, (row, i) => {
        const read = readBy(this.#groups[0]!, start + row);
        const token = score.tokens[i]!;
        const logprob = fakeLogprob(read.map((position) => kvAt(position - start)), token);
        return { token, logprob, topLogprobs: [] };
      });
      outputs.push({ type: "scores", scores });
    }
    if (pooling !== undefined) {
      const sum = Float32Array.from(pooling.before ?? [0]);
      for (let i = 0; i < pooling.numRows; i++) sum[0]! += kvAt(pooling.firstRow + i) % 1024;
      outputs.push({ type: "pooled", sum });
    }
    if (draw !== undefined) outputs.push(this.#sample(chunk, draw));
    return outputs;
  }

  #sample(chunk: ScheduledChunk, sample: DrawRequest): ChunkOutput {
    const contextLen = chunk.start + chunk.tokens.length;
    const kv = readBy(this.#groups[0]!, contextLen - 1).map((position) =>
      this.#slots[0]![this.#slot(chunk, position, 0)]!
    );
    const position = this.#poisonedPosition(kv);
    if (position >= 0) {
      const kvDamage = { position, layer: 0, dtype: "f16", isTooLarge: true } as const;
      return { type: "failed", failure: { numSoundTokens: position, kvDamage } };
    }
    const drawn = {
      type: "token",
      token: draw(kv, sample, adjustedBy(sample.adjustment)),
    } as const;
    const { numLogprobs } = sample;
    return numLogprobs === undefined
      ? drawn
      : { ...drawn, topLogprobs: likeliest(kv, numLogprobs, this.#vocabSize) };
  }

  #poisonedPosition(kv: readonly number[]): number {
    const { poison } = this;
    return poison === undefined ? -1 : kv.findIndex((value, i) => value === kvOf(poison, i));
  }

  #slot(chunk: ScheduledChunk, position: number, group: number): number {
    const block = chunk.blockTables[group]![Math.floor(position / this.#blockSize)];
    if (block === undefined || block === NO_BLOCK) {
      throw new Error(`position ${position} lies outside the block table`);
    }
    return block * this.#blockSize + position % this.#blockSize;
  }
}
