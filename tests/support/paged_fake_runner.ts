import type {
  Batch,
  LogitAdjustment,
  SampledToken,
  SampleRequest,
  ScheduledChunk,
} from "../../src/core/batch.ts";
import type { TokenId } from "../../src/core/ids.ts";
import type { SamplingParams } from "../../src/core/sampling_params.ts";
import type { FinishReason } from "../../src/core/token_event.ts";

/** The fake model's tokens are `[0, FAKE_VOCAB_SIZE)`: few, so that stop tokens are drawn often. */
export const FAKE_VOCAB_SIZE = 17;

/** What no token writes: a slot read before it was written shows as a wrong token. */
const POISON = 0xdeadbeef;

function mix(hash: number, value: number): number {
  const product = Math.imul(hash ^ value, 0x85ebca6b);
  return (product ^ (product >>> 13)) >>> 0;
}

/** What the fake model keeps of one token at one position: its "KV". */
function kvOf(token: TokenId, position: number): number {
  return mix(mix(0x811c9dc5, token), position);
}

/** The fake model's next token, from the KV of all tokens so far and the draw. */
function draw(
  kv: Iterable<number>,
  { seed, outputIndex, adjustment }: Pick<SampleRequest, "seed" | "outputIndex" | "adjustment">,
) {
  let hash = mix(seed, outputIndex);
  for (const value of numbersOf(adjustment)) hash = mix(hash, value);
  for (const value of kv) hash = mix(hash, value);
  return hash % FAKE_VOCAB_SIZE;
}

/** Everything an adjustment says, by ascending token. */
function numbersOf(adjustment: LogitAdjustment | undefined): number[] {
  if (adjustment === undefined) return [];
  const { tokens, counts, biases, allowedTokens = [] } = adjustment;
  const { repetitionPenalty, frequencyPenalty, presencePenalty } = adjustment;
  const entries = Array.from(tokens, (token, i) => [token, counts[i]!, 1000 * biases[i]!])
    .sort(([a], [b]) => a! - b!);
  const penalties = [repetitionPenalty, frequencyPenalty, presencePenalty];
  return [...penalties.map((p) => 1000 * p), ...entries.flat(), ...allowedTokens];
}

/** The adjustment by definition: everything counted anew for each draw. */
function adjustmentOf(
  prompt: readonly number[],
  outputs: readonly number[],
  params: SamplingParams,
): LogitAdjustment | undefined {
  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = params;
  const { logitBias = [], minTokens = 0, stopTokenIds, allowedTokens } = params;
  const isPenalized = repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
  const isBanned = (token: number) => outputs.length < minTokens && stopTokenIds.includes(token);
  const tokens = new Set([
    ...logitBias.map(([token]) => token),
    ...(minTokens > 0 ? stopTokenIds : []),
    ...(repetitionPenalty === 1 ? [] : prompt),
    ...(isPenalized ? outputs : []),
  ]);
  const hasBans = outputs.length < minTokens && stopTokenIds.length > 0;
  const hasPenalties = isPenalized && tokens.size > 0;
  if (!hasPenalties && !hasBans && logitBias.length === 0 && !allowedTokens) return undefined;
  const countOf = (token: number) =>
    (isPenalized ? 2 * outputs.filter((drawn) => drawn === token).length : 0) +
    (repetitionPenalty !== 1 && prompt.includes(token) ? 1 : 0);
  const biasOf = (token: number) =>
    isBanned(token) ? -Infinity : logitBias.find(([biased]) => biased === token)?.[1] ?? 0;
  return {
    ...{ repetitionPenalty, frequencyPenalty, presencePenalty },
    tokens: Uint32Array.from(tokens),
    counts: Uint32Array.from(tokens, countOf),
    biases: Float32Array.from(tokens, biasOf),
    ...(allowedTokens === undefined ? {} : { allowedTokens }),
  };
}

/** What a sequence generates by definition, alone: no blocks, no batches, no chunks. */
export function generateAlone(
  prompt: Iterable<number>,
  params: SamplingParams,
  maxModelLen: number,
): { tokens: number[]; finishReason: FinishReason } {
  const promptTokens = [...prompt];
  const kv = promptTokens.map(kvOf);
  const tokens: number[] = [];
  while (true) {
    const adjustment = adjustmentOf(promptTokens, tokens, params);
    const token = draw(kv, {
      ...{ seed: params.seed, outputIndex: tokens.length },
      ...(adjustment === undefined ? {} : { adjustment }),
    });
    kv.push(kvOf(token, kv.length));
    tokens.push(token);
    if (params.stopTokenIds.includes(token)) return { tokens, finishReason: "stop" };
    if (tokens.length === params.maxTokens || kv.length === maxModelLen) {
      return { tokens, finishReason: "length" };
    }
  }
}

/**
 * A model without arithmetic over a paged KV store: it writes and reads only through the block
 * tables it is given, so a block that is shared, stale or missing shows as a wrong token.
 */
export class PagedFakeRunner {
  readonly #blockSize: number;
  /** `[block][offset]` */
  readonly #slots: Uint32Array;
  readonly batches: Batch[] = [];

  constructor({ numBlocks, blockSize }: { numBlocks: number; blockSize: number }) {
    this.#blockSize = blockSize;
    this.#slots = new Uint32Array(numBlocks * blockSize).fill(POISON);
  }

  run(batch: Batch): SampledToken[] {
    this.batches.push(batch);
    for (const { from, to, numTokens } of batch.copies ?? []) {
      const start = from * this.#blockSize;
      this.#slots.copyWithin(to * this.#blockSize, start, start + numTokens);
    }
    // All writes come first, as on a device: a slot written twice in one step is then always wrong.
    for (const chunk of batch.chunks) {
      chunk.tokens.forEach((token, i) => {
        this.#slots[this.#slot(chunk, chunk.start + i)] = kvOf(token, chunk.start + i);
      });
    }
    return batch.chunks.flatMap((chunk) =>
      chunk.sample === undefined ? [] : [this.#sample(chunk, chunk.sample)]
    );
  }

  #sample(chunk: ScheduledChunk, sample: SampleRequest): SampledToken {
    const contextLen = chunk.start + chunk.tokens.length;
    const kv = Array.from(
      { length: contextLen },
      (_, position) => this.#slots[this.#slot(chunk, position)]!,
    );
    return { sequenceId: chunk.sequenceId, token: draw(kv, sample) };
  }

  #slot(chunk: ScheduledChunk, position: number): number {
    const block = chunk.blockTable[Math.floor(position / this.#blockSize)];
    if (block === undefined) throw new Error(`position ${position} lies outside the block table`);
    return block * this.#blockSize + position % this.#blockSize;
  }
}
