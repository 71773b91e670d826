import { assert } from "@std/assert";
import type { ScheduledChunk } from "../../src/core/batch.ts";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { TokenId } from "../../src/core/ids.ts";
import type { Device } from "../../src/device/device.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";
import { kvMemory } from "../../src/runner/kv_memory.ts";
import { shortContext } from "../../src/runner/position_table.ts";
import type { ModelRunner } from "../../src/runner/model_runner.ts";
import { loadTokenizer } from "../../src/tokenizer/tokenizer.ts";
import { DEMO_DIR, demoRunner, goldenPrompts } from "./demo_engine.ts";

/** What a model makes of given tokens, each position with all given tokens before it. */
export interface TokenScores {
  /** Natural log-probability of each scored token after all tokens before it. */
  readonly logprobs: Float64Array;
  /** The token that the model would have chosen greedily in its place. */
  readonly best: Uint32Array;
}

/** Tokens of one step; each row's logits are kept. */
const ROWS = 32;
const GREEDY_DRAW = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0, outputIndex: 0 };

/** Teacher forcing: feeds a runner given tokens and reads the logits of every position. */
export class Scorer {
  readonly #device: Device;
  readonly #runner: ModelRunner;
  readonly #logits: DeviceBuffer;
  readonly #blockSize: number;
  /** Blocks of each cache group in a slab. */
  readonly #blocksPerSlab: readonly number[];
  readonly #shortContextLen: number;

  private constructor(
    device: Device,
    runner: ModelRunner,
    logits: DeviceBuffer,
    { blockSize, blocksPerSlab, shortContextLen = Infinity }: {
      blockSize: number;
      blocksPerSlab: readonly number[];
      shortContextLen?: number;
    },
  ) {
    this.#device = device;
    this.#runner = runner;
    this.#logits = logits;
    this.#blockSize = blockSize;
    this.#blocksPerSlab = blocksPerSlab;
    this.#shortContextLen = shortContextLen;
  }

  /** The bundled model, or that of `overrides.modelDir`, on `device`. */
  static async create(device: Device, overrides: Partial<EngineConfig> = {}): Promise<Scorer> {
    const buffers = new Map<string, DeviceBuffer>();
    const { runner, config, model, budget } = await demoRunner(
      recordingBuffers(device, buffers),
      { ...overrides, maxNumSeqs: ROWS, maxNumBatchedTokens: ROWS },
    );
    const { blockSize } = config;
    const { blocksPerSlab } = kvMemory(model, config).layout;
    const sizes = { blockSize, blocksPerSlab, ...shortContext(model, budget) };
    return new Scorer(device, runner, buffers.get("logits")!, sizes);
  }

  /**
   * Scores tokens `[first, tokens.length)` of a sequence; `first` is 1 or more. The tokens before
   * them are a prompt, computed in chunks.
   */
  async score(tokens: ArrayLike<TokenId>, first = 1): Promise<TokenScores> {
    const numScores = tokens.length - first;
    const scores = { logprobs: new Float64Array(numScores), best: new Uint32Array(numScores) };
    await this.#prefill(tokens, first - 1);
    await this.#decode(tokens, first - 1, tokens.length - 1, (position, logits, best) => {
      scores.best[position + 1 - first] = best;
      scores.logprobs[position + 1 - first] = logprobOf(logits, tokens[position + 1]!);
    });
    return scores;
  }

  /**
   * Logits after each of the tokens of a sequence, all of which are computed as decodes; those
   * within a short context as of a sequence that ends there.
   */
  async logits(tokens: ArrayLike<TokenId>): Promise<Float32Array[]> {
    const rows: Float32Array[] = [];
    const onRow = (position: number, logits: Float32Array) => rows[position] = logits;
    const short = Array.from(tokens).slice(0, this.#shortContextLen);
    if (tokens.length > short.length) {
      await this.#decode(tokens, 0, tokens.length, onRow, { isLongContext: true });
    }
    await this.#decode(short, 0, short.length, onRow);
    return rows;
  }

  /** Computes positions `[0, end)` in chunks. */
  async #prefill(tokens: ArrayLike<TokenId>, end: number): Promise<void> {
    const blockTables = this.#blockTables(tokens.length);
    for (let start = 0; start < end; start += ROWS) {
      const chunk = Uint32Array.from(tokens).slice(start, Math.min(start + ROWS, end));
      const chunks = [{ sequenceId: 0, tokens: chunk, start, blockTables }];
      await this.#runner.run({ step: 0, chunks, numTokens: chunk.length });
    }
  }

  /**
   * Computes positions `[first, end)`. A step's rows are consecutive positions, each a chunk of its
   * own: the step stores all their K and V before any of them attends, so that each sees those
   * before it.
   */
  async #decode(
    tokens: ArrayLike<TokenId>,
    first: number,
    end: number,
    onRow: (position: number, logits: Float32Array, best: TokenId) => void,
    context: Pick<ScheduledChunk, "isLongContext"> = {},
  ): Promise<void> {
    const blockTables = this.#blockTables(tokens.length);
    for (let start = first; start < end; start += ROWS) {
      const numTokens = Math.min(ROWS, end - start);
      const chunks = Array.from({ length: numTokens }, (_, row): ScheduledChunk => ({
        sequenceId: row,
        tokens: Uint32Array.of(tokens[start + row]!),
        start: start + row,
        blockTables,
        draw: GREEDY_DRAW,
        ...context,
      }));
      const sampled = await this.#runner.run({ step: 0, chunks, numTokens });
      const logits = await this.#readLogits();
      const vocabSize = logits.length / ROWS;
      sampled.forEach(({ outputs: [output] }, row) => {
        assert(output?.type === "token", `position ${start + row} drew no token`);
        onRow(
          start + row,
          logits.subarray(row * vocabSize, (row + 1) * vocabSize),
          output.token,
        );
      });
    }
  }

  /** Of each cache group as many blocks as positions ask for, from the slabs after the others'. */
  #blockTables(numTokens: number): number[][] {
    const numBlocks = Math.ceil(numTokens / this.#blockSize);
    let firstSlab = 0;
    return this.#blocksPerSlab.map((perSlab) => {
      const first = firstSlab * perSlab;
      firstSlab += Math.ceil(numBlocks / perSlab);
      return Array.from({ length: numBlocks }, (_, i) => first + i);
    });
  }

  async #readLogits(): Promise<Float32Array> {
    const bytes = await this.#device.read(this.#logits, 0, this.#logits.bytes);
    return new Float32Array(bytes.buffer);
  }
}

/** `exp` of the mean negative log-probability per token, all sequences together. */
export function perplexity(scores: readonly TokenScores[]): number {
  const logprobs = scores.flatMap(({ logprobs }) => [...logprobs]);
  return Math.exp(-logprobs.reduce((sum, logprob) => sum + logprob, 0) / logprobs.length);
}

/** Scores of a text's tokens from the second on, from the logits after each of its tokens. */
export function scoresOf(
  logits: readonly ArrayLike<number>[],
  text: ArrayLike<TokenId>,
): TokenScores {
  const rows = logits.slice(0, -1);
  return {
    logprobs: Float64Array.from(rows, (row, i) => logprobOf(row, text[i + 1]!)),
    best: Uint32Array.from(rows, likeliest),
  };
}

/**
 * How far logits are from those of a reference, position by position: the mean Kullback-Leibler
 * divergence of the distributions over the next token, in nats. It is the growth of the logarithm
 * of perplexity to be expected of text that the reference writes, with far less noise.
 */
export function divergence(
  reference: readonly ArrayLike<number>[],
  logits: readonly ArrayLike<number>[],
): number {
  assert(reference.length === logits.length && logits.length > 0);
  const sum = reference.reduce((sum, row, i) => sum + divergenceOf(row, logits[i]!), 0);
  return sum / reference.length;
}

function divergenceOf(reference: ArrayLike<number>, logits: ArrayLike<number>): number {
  const [p, q] = [reference, logits].map(logSoftmax);
  let sum = 0;
  for (let i = 0; i < p!.length; i++) sum += Math.exp(p![i]!) * (p![i]! - q![i]!);
  return sum;
}

function logSoftmax(logits: ArrayLike<number>): Float64Array {
  const peak = peakOf(logits);
  const total = Math.log(totalOf(logits, peak));
  const row = new Float64Array(logits.length);
  for (let i = 0; i < row.length; i++) row[i] = logits[i]! - peak - total;
  return row;
}

// Loops: the methods of typed arrays call a function for each logit, millions of times in a test.

function peakOf(logits: ArrayLike<number>): number {
  let peak = -Infinity;
  for (let i = 0; i < logits.length; i++) peak = Math.max(peak, logits[i]!);
  return peak;
}

/** Sum of the probabilities that logits stand for, that of `peak` being 1. */
function totalOf(logits: ArrayLike<number>, peak: number): number {
  let total = 0;
  for (let i = 0; i < logits.length; i++) total += Math.exp(logits[i]! - peak);
  return total;
}

/** The first token of the largest logit. */
function likeliest(logits: ArrayLike<number>): TokenId {
  const peak = peakOf(logits);
  let token = 0;
  while (token < logits.length && logits[token] !== peak) token++;
  return token;
}

/**
 * Perplexity per token of the eight stories in the bundled model's evaluation set, or the first
 * `count`.
 */
export async function storyPerplexity(scorer: Scorer, count = Infinity): Promise<number> {
  const scores: TokenScores[] = [];
  for (const story of evaluationStories().slice(0, count)) scores.push(await scorer.score(story));
  return perplexity(scores);
}

/** Logits of each position of each text. */
export async function logitsOfTexts(
  scorer: Scorer,
  texts: readonly Uint32Array[],
): Promise<Float32Array[][]> {
  const logits: Float32Array[][] = [];
  for (const text of texts) logits.push(await scorer.logits(text));
  return logits;
}

/** Perplexity per token of texts, of each of which there are the logits. */
export function perplexityOfLogits(
  texts: readonly Uint32Array[],
  logits: readonly Float32Array[][],
): number {
  return perplexity(texts.map((text, i) => scoresOf(logits[i]!, text)));
}

/**
 * Share of the golden greedy ids, or of those of the first `count` prompts, that are the likeliest
 * after the golden tokens before them, 0 to 1.
 */
export async function goldenAgreement(scorer: Scorer, count = Infinity): Promise<number> {
  let [numEqual, numIds] = [0, 0];
  for (const { prompt_ids, greedy_ids } of goldenPrompts().slice(0, count)) {
    const { best } = await scorer.score([...prompt_ids, ...greedy_ids], prompt_ids.length);
    greedy_ids.forEach((id, i) => numEqual += best[i] === id ? 1 : 0);
    numIds += greedy_ids.length;
  }
  return numEqual / numIds;
}

/** Stories of the bundled model's evaluation set, which it was not trained on, to the end token. */
export function evaluationStories(): Uint32Array[] {
  const file = new URL("../golden/demo_eval.json", import.meta.url);
  const stories: readonly string[] = JSON.parse(Deno.readTextFileSync(file)).stories;
  const tokenizer = loadTokenizer(DEMO_DIR);
  return stories.map((story) => tokenizer.encode(`${story}<|endoftext|>`));
}

function logprobOf(logits: ArrayLike<number>, token: TokenId): number {
  const peak = peakOf(logits);
  return logits[token]! - peak - Math.log(totalOf(logits, peak));
}

/** `device`, noting each buffer that is made on it under its label. */
function recordingBuffers(device: Device, buffers: Map<string, DeviceBuffer>): Device {
  return new Proxy(device, {
    get(target, property) {
      if (property === "createBuffer") {
        return async (label: string, bytes: number) => {
          const buffer = await target.createBuffer(label, bytes);
          buffers.set(label, buffer);
          return buffer;
        };
      }
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
