import type { EngineInfo } from "../../src/core/engine_config.ts";
import type { EngineStats } from "../../src/core/engine_stats.ts";
import type { TokenEvent } from "../../src/core/token_event.ts";
import type { EngineWorker, WorkerListener } from "../../src/engine/isolate_handle.ts";
import type { FromEngine, ToEngine } from "../../src/engine/messages.ts";

/** What a fake isolate says of itself. */
export const FAKE_INFO: EngineInfo = {
  device: "a fake",
  deviceKind: "cpu",
  modelType: "fake",
  numParameters: 0,
  weightBytes: 0,
  vocabSize: 100,
  maxModelLen: 100,
  blockSize: 2,
  numBlocks: 32,
  kvCacheBytes: 3200,
  maxNumBlocks: 32,
  kvCacheDtype: "f32",
  maxNumSeqs: 4,
  maxNumBatchedTokens: 8,
  phases: [],
};

/** Statistics of an isolate that has done `numSteps` steps and holds some blocks. */
export function statsAfter(numSteps: number): EngineStats {
  return {
    numRunning: 1,
    numWaiting: 2,
    numDeferred: 1,
    numBlocks: 32,
    numFreeBlocks: 30,
    numCachedBlocks: 1,
    numPinnedBlocks: 0,
    numSwapped: 1,
    numSwapBlocks: 4,
    numUsedSwapBlocks: 2,
    numSteps,
    numStepTokens: 20 * numSteps,
    numCorrupted: 18 * numSteps,
    numCachedPromptTokens: 19 * numSteps,
    numSwappedOutBlocks: 22 * numSteps,
    numSwappedInBlocks: 23 * numSteps,
    swappedOutBytes: 24 * numSteps,
    swappedInBytes: 25 * numSteps,
    numSwapsRefused: 26 * numSteps,
    numSwapsEvicted: 27 * numSteps,
    numSwapsCorrupt: 28 * numSteps,
    numPreemptions: numSteps,
    numTimeouts: 16 * numSteps,
    numRecomputedTokens: 17 * numSteps,
    numComputedPromptTokens: 3 * numSteps,
    numPromptTokens: 21 * numSteps,
    numGeneratedTokens: 2 * numSteps,
    numFurtherDecodeSteps: 22 * numSteps,
    numWastedTokens: 23 * numSteps,
    numQueriedTokens: 7 * numSteps,
    numHitTokens: 6 * numSteps,
    numEvictedTokens: 8 * numSteps,
    numUnsharableTokens: 9 * numSteps,
    numRequeriedTokens: 10 * numSteps,
    numRehitTokens: 11 * numSteps,
    numEvictedBlocks: 4 * numSteps,
    numResetBlocks: 12 * numSteps,
    numPoolGrowths: 13 * numSteps,
    numPoolResizes: 14 * numSteps,
    numShrinkEvictedBlocks: 15 * numSteps,
    // What no isolate can count.
    numLosses: 0,
    numResumedRequests: 0,
    stepMs: 5 * numSteps,
    hostMs: numSteps,
    overlappedMs: 2 * numSteps,
  };
}

/** An engine isolate without an engine: a test reads what it is sent and says what it answers. */
export class FakeWorker implements EngineWorker {
  readonly received: ToEngine[] = [];
  isTerminated = false;
  /** Whether `terminate` does not end it. */
  isStuck = false;
  #listener: WorkerListener | undefined;

  listen(listener: WorkerListener): void {
    this.#listener = listener;
  }

  postMessage(message: ToEngine): void {
    this.received.push(structuredClone(message));
  }

  terminate(): void {
    this.isTerminated = true;
    if (!this.isStuck) this.exit();
  }

  /** Delivers a message to the main isolate, as structured clone does. */
  say(message: FromEngine): void {
    this.#listener?.onMessage(structuredClone(message));
  }

  /** Delivers the events of one step. */
  sayEvents(numSteps: number, ...events: TokenEvent[]): void {
    this.say({ type: "events", events, stats: statsAfter(numSteps) });
  }

  /** Dies as a thread does whose code throws; returns whether somebody listened. */
  crash(message: string): boolean {
    this.#listener?.onError({ reason: message });
    return this.#listener !== undefined;
  }

  /** Its thread is gone. */
  exit(): void {
    this.#listener?.onExit();
  }
}
