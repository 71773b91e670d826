import type { CommandReplies, EngineCommand, ReplyOf } from "../../src/core/engine_command.ts";
import type { EngineInfo } from "../../src/core/engine_config.ts";
import { type EngineStats, zeroStats } from "../../src/core/engine_stats.ts";
import type { EnginePort, EngineStall, EngineState, Outage } from "../../src/core/engine_port.ts";
import type { Generation, GenerationRequest } from "../../src/core/generation.ts";
import { NumberedLog } from "../../src/base/numbered_log.ts";
import type { LoggedDecision } from "../../src/core/kv_decision.ts";
import type { KvEvent } from "../../src/core/kv_event.ts";
import type { PromptReadout, PromptReport } from "../../src/core/prompt_readout.ts";
import type { TokenEvent } from "../../src/core/token_event.ts";
import { EOS, FakeText } from "./fake_text.ts";

/**
 * What the fake generates for a sequence of a request, as token ids; the end of sequence follows.
 */
export type Script = (index: number, request: GenerationRequest) => readonly number[];

/** The bytes of a text as token ids. */
export function bytesOf(text: string): number[] {
  return [...new TextEncoder().encode(text)];
}

export const INFO: EngineInfo = {
  device: "a fake",
  deviceKind: "cpu",
  modelType: "llama",
  numParameters: 1000,
  weightBytes: 2000,
  vocabSize: new FakeText().vocabSize,
  maxModelLen: 256,
  blockSize: 16,
  numBlocks: 64,
  kvCacheBytes: 65536,
  maxNumBlocks: 64,
  kvCacheDtype: "f16",
  maxNumSeqs: 8,
  maxNumBatchedTokens: 64,
  phases: [],
};

const STATS: EngineStats = { ...zeroStats(), numBlocks: 64, numFreeBlocks: 64 };

/** Elements of the fake's hidden states. */
export const FAKE_HIDDEN_SIZE = 8;

/** What the fake reads of a prompt: every other token is the likeliest, by numbers of its place. */
export function fakeReading(prompt: Uint32Array, readout: PromptReadout): PromptReport {
  const { numLogprobs, nextTokens, pooling } = readout;
  const scores = Array.from(prompt.subarray(1), (token, i) => {
    const logprob = -0.25 * (i + 1);
    const first = i % 2 === 0 ? token : (token + 1) % 128;
    const topLogprobs = Array.from({ length: numLogprobs ?? 0 }, (_, rank) => ({
      token: (first + rank) % 128,
      logprob: logprob + (first === token ? 0 : 0.125) - rank,
    }));
    return { token, logprob, topLogprobs };
  });
  const from = pooling === "cls" ? prompt[0]! : prompt.at(-1)!;
  const nextScores = nextTokens?.map((token) => ({
    token,
    logprob: -((token + prompt.length) % 7) - 0.5,
    topLogprobs: [],
  }));
  return {
    ...(numLogprobs === undefined ? {} : { scores }),
    ...(nextScores === undefined ? {} : { nextScores }),
    ...(pooling === undefined
      ? {}
      : { vector: Float32Array.from({ length: FAKE_HIDDEN_SIZE }, (_, e) => (from + e) / 16) }),
  };
}

/** An engine that recites a script, one token per sequence and step. */
export class FakeEngine implements EnginePort {
  state: EngineState = "ready";
  info: EngineInfo | undefined = INFO;
  stats: EngineStats = STATS;
  failure: string | undefined;
  /** What is read of prompts. */
  read: typeof fakeReading = fakeReading;
  stall: EngineStall | undefined;
  numStalls = 0;
  numRestarts = 0;
  outage: Outage | undefined;
  notice: string | undefined;
  script: Script = () => bytesOf("Hello");
  /** Thrown by `submit` and `command`. */
  refusal: Error | undefined;
  /** Cached prompt tokens to report on each sequence's first event. */
  numCachedTokens: number | undefined;
  /** Replaces the event of an output position. */
  override: ((event: TokenEvent, outputIndex: number) => TokenEvent) | undefined;
  /** Steps wait for {@link step} when set. */
  isManual = false;
  readonly requests: GenerationRequest[] = [];
  readonly kvEvents: NumberedLog<KvEvent> = new NumberedLog(64);
  readonly decisions: NumberedLog<LoggedDecision> = new NumberedLog(64);
  readonly commands: EngineCommand[] = [];
  /** What commands are answered. */
  answers: CommandReplies = {
    reset_prefix_cache: { numPreempted: 0 },
    pin_prefix: { numBlocks: 2, numTokens: 32, numPinned: 5, maxNumPinned: 32 },
    unpin_prefix: { wasPinned: true },
    resize_kv: { numBefore: 64, numAfter: 32, numEvicted: 3, numMoved: 2 },
    hit_rate_curve: [{ multiple: 0.5, hitRate: 0.25 }, { multiple: Infinity, hitRate: 0.75 }],
    check_integrity: { numBlocks: 64, numFreeBlocks: 64, numCachedBlocks: 0 },
    view: {
      step: 7,
      blockSize: 16,
      groups: ["full"],
      blocks: {
        states: new Uint8Array(64),
        holders: new Uint8Array(64),
        firstHolders: new Int32Array(64).fill(-1),
      },
      tree: { runs: [], scopes: [], numRuns: 0, numBlocks: 0 },
      sequences: [],
      numHidden: 0,
      steps: [],
      chunks: [],
      tookMs: 0,
    },
    read_path: { tokens: undefined },
    abort_request: { numSequences: 1 },
  };
  readonly runs: FakeGeneration[] = [];

  submit(request: GenerationRequest): Promise<Generation> {
    if (this.refusal !== undefined) return Promise.reject(this.refusal);
    this.requests.push(request);
    const run = new FakeGeneration(this, request);
    this.runs.push(run);
    return Promise.resolve(run);
  }

  command<C extends EngineCommand>(command: C): Promise<ReplyOf<C>> {
    if (this.refusal !== undefined) return Promise.reject(this.refusal);
    this.commands.push(command);
    return Promise.resolve(this.answers[command.type] as ReplyOf<C>);
  }

  get numInFlight(): number {
    return this.runs.filter(({ hasEnded }) => !hasEnded).length;
  }

  /** The latest request's sequences. */
  get sequences() {
    return this.requests.at(-1)!.sequences;
  }

  /** The latest generation. */
  get run(): FakeGeneration {
    return this.runs.at(-1)!;
  }
}

/** One request of the fake; records how it was aborted. */
export class FakeGeneration implements Generation {
  readonly events: AsyncIterable<readonly TokenEvent[]>;
  readonly aborted = new Set<number>();
  /** Resolves when all sequences have been aborted or have ended. */
  readonly ended: Promise<void>;
  hasEnded = false;
  readonly #engine: FakeEngine;
  readonly #request: GenerationRequest;
  #numPermits = 0;
  #wake: () => void = () => {};
  #end: () => void;

  constructor(engine: FakeEngine, request: GenerationRequest) {
    this.#engine = engine;
    this.#request = request;
    this.events = this.#generate();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#end = resolve;
  }

  abort(index?: number): void {
    const indices = index === undefined ? this.#request.sequences.keys() : [index];
    for (const one of indices) this.aborted.add(one);
    this.#wake();
  }

  /** Lets a manual engine make steps. */
  step(count = 1): void {
    this.#numPermits += count;
    this.#wake();
  }

  async *#generate(): AsyncGenerator<readonly TokenEvent[]> {
    const { sequences, id } = this.#request;
    const live = new Set(sequences.keys());
    const scripts = sequences.map((_, index) => this.#engine.script(index, this.#request));
    try {
      for (let outputIndex = 0; live.size > 0; outputIndex++) {
        await this.#permit(live);
        const events: TokenEvent[] = [];
        for (const index of live) {
          const event = this.aborted.has(index)
            ? { requestId: id, index, finishReason: "abort" as const }
            : this.#draw(index, outputIndex, scripts[index]![outputIndex] ?? EOS);
          if (event.finishReason !== undefined) live.delete(index);
          events.push(event);
        }
        yield events;
      }
    } finally {
      for (const index of live) this.aborted.add(index);
      this.hasEnded = true;
      this.#end();
    }
  }

  async #permit(live: ReadonlySet<number>): Promise<void> {
    while (this.#engine.isManual && this.#numPermits === 0) {
      if ([...live].some((index) => this.aborted.has(index))) return;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    this.#numPermits = Math.max(0, this.#numPermits - 1);
    await Promise.resolve();
  }

  /** Counts a token as the real engine does, whether or not anyone reads it. */
  #count(index: number, outputIndex: number): void {
    const { stats } = this.#engine;
    const { prompt } = this.#request.sequences[index]!;
    this.#engine.stats = {
      ...stats,
      numPromptTokens: stats.numPromptTokens + (outputIndex === 0 ? prompt.length : 0),
      numGeneratedTokens: stats.numGeneratedTokens + 1,
    };
  }

  #draw(index: number, outputIndex: number, token: number): TokenEvent {
    const { prompt, readout, params: { maxTokens } } = this.#request.sequences[index]!;
    const report = outputIndex > 0 || readout === undefined
      ? {}
      : { prompt: this.#engine.read(prompt, readout) };
    if (maxTokens === 0) {
      const end = {
        requestId: this.#request.id,
        index,
        ...report,
        finishReason: "length",
      } as const;
      return this.#engine.override?.(end, outputIndex) ?? end;
    }
    const { params } = this.#request.sequences[index]!;
    const { numCachedTokens, override } = this.#engine;
    const isStop = params.stopTokenIds.includes(token);
    const isLast = outputIndex + 1 === params.maxTokens;
    const event: TokenEvent = {
      requestId: this.#request.id,
      index,
      token,
      ...(params.numLogprobs === undefined ? {} : {
        logprob: -0.5 - outputIndex,
        topLogprobs: Array.from({ length: params.numLogprobs }, (_, i) => ({
          token: (token + i) % 128,
          logprob: -0.5 - outputIndex - i,
        })),
      }),
      ...(outputIndex === 0 && numCachedTokens !== undefined ? { numCachedTokens } : {}),
      ...report,
      ...(isStop ? { finishReason: "stop" } : isLast ? { finishReason: "length" } : {}),
    };
    this.#count(index, outputIndex);
    return override?.(event, outputIndex) ?? event;
  }
}
