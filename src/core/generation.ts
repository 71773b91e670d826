import type { NumberedLog } from "../base/numbered_log.ts";
import type { BeamSearchParams } from "./beam_search_params.ts";
import type { CompiledGrammar } from "./compiled_grammar.ts";
import type { EngineCommand, ReplyOf } from "./engine_command.ts";
import type { EngineInfo } from "./engine_config.ts";
import type { EngineStats } from "./engine_stats.ts";
import type { RequestId } from "./ids.ts";
import type { LoggedDecision } from "./kv_decision.ts";
import type { KvEvent } from "./kv_event.ts";
import type { PromptReadout } from "./prompt_readout.ts";
import type { SamplingParams } from "./sampling_params.ts";
import type { TokenEvent } from "./token_event.ts";

/** One sequence to generate: a prompt of at least one token id, each below the vocabulary size. */
export interface SequenceRequest {
  readonly prompt: Uint32Array;
  readonly params: SamplingParams;
  /** What its tokens have to match; absent: anything. Not for the answers of a search. */
  readonly grammar?: CompiledGrammar;
  /** What is read of the prompt itself; absent: nothing. Not for the answers of a search. */
  readonly readout?: PromptReadout;
}

/** How firmly a request's blocks stay in the prefix cache. */
export interface CacheRetention {
  /** From 0, first to be evicted, to 100; others have 35. */
  readonly priority: number;
  /** How long that priority holds, in milliseconds; absent means until the block is evicted. */
  readonly durationMs?: number;
}

/** What had come of a sequence when the engine that generated it was lost. */
export interface ResumedSequence {
  /** The tokens that it has drawn and reported; its next draw is that behind them. */
  readonly tokens: Uint32Array;
  /** Whether it has reported its end, so that nothing is left to do. */
  readonly hasEnded: boolean;
}

/** What had come of a request when the engine that it was in was lost. */
export interface ResumedRequest {
  /** One per sequence of the request, in their order; at least one has not ended. */
  readonly sequences: readonly ResumedSequence[];
  /** Milliseconds since the request first came; its timeout counts from then. */
  readonly elapsedMs: number;
}

/** One request: all its sequences are accepted, or none is. */
export interface GenerationRequest {
  readonly id: RequestId;
  readonly sequences: readonly SequenceRequest[];
  /**
   * Each run of `width` identical sequences is one beam search: they are its answers, best first,
   * and all their events come at its end. Absent: sequences draw.
   */
  readonly beamSearch?: BeamSearchParams;
  /**
   * The cache scope: blocks are found only within the scope that cached them. The server derives it
   * from the API key and the request's `cache_salt`; absent is the scope of all requests that have
   * neither.
   */
  readonly cacheScope?: string;
  /**
   * The client as an opaque name: owners take turns at admission, and each has a queue limit of its
   * own. Requests without a name form one owner together.
   */
  readonly owner?: string;
  /**
   * Requests of a higher priority are admitted before those of a lower one that wait; default: 0.
   * All requests of one owner have the same.
   */
  readonly priority?: number;
  /**
   * Its own priority among the requests of that priority, a higher one first; default: 0. Others
   * are refused but under the policy `priority`.
   */
  readonly urgency?: number;
  /** Milliseconds after which it ends with an error, waiting or running; absent: never. */
  readonly timeoutMs?: number;
  /**
   * Whether the server itself makes the request, to fill the cache; it is left out of the
   * statistics of look-ups.
   */
  readonly isReheat?: boolean;
  /** How firmly its blocks stay cached; only the eviction policy `priority` uses it. */
  readonly cacheRetention?: CacheRetention;
  /** Present where another engine had it before, which was lost: it goes on where it stopped. */
  readonly resumed?: ResumedRequest;
}

/** An accepted request in flight. */
export interface Generation {
  /**
   * The request's token events in order, one array per engine step that touched it; ends after
   * every sequence has reported a `finishReason`. Leaving the loop early aborts what still runs.
   */
  readonly events: AsyncIterable<readonly TokenEvent[]>;
  /**
   * Stops sequence `index` (or all of them); their blocks are free at the next step. Idempotent.
   */
  abort(index?: number): void;
}

/** An engine that was lost and is not yet replaced. */
export interface Outage {
  /** Milliseconds since it was lost. */
  readonly elapsedMs: number;
  /** Engines lost in a row, without an answer that was completed in between. */
  readonly numFailures: number;
  /** How many in a row are too many; absent: none are. */
  readonly maxNumFailures?: number;
  /** Milliseconds until another is started; absent while it starts. */
  readonly nextTryMs?: number;
}

/** Where the engine isolate may be in its life. */
export const ENGINE_STATES = ["starting", "ready", "restarting", "draining", "failed"] as const;

/** Where the engine isolate is in its life. */
export type EngineState = (typeof ENGINE_STATES)[number];

/** Why an engine takes no requests, by its state, in a sentence for clients. */
export const UNAVAILABLE: Readonly<Record<Exclude<EngineState, "ready">, string>> = {
  starting: "The engine is starting: the model is being loaded",
  restarting: "The engine is restarting after a failure",
  draining: "The server is shutting down and takes no further requests",
  failed: "The engine has failed and could not be restarted",
};

/** An engine that has something to do, and has not got on with it for unusually long. */
export interface EngineStall {
  /** Since it last got on. */
  readonly seconds: number;
  /** What it is at, and what blocks those that wait, with numbers; or that it answers nothing. */
  readonly reason: string;
}

/** The engine as the rooms of the main isolate see it. */
export interface EnginePort {
  readonly state: EngineState;
  /** Present once the engine has been ready; survives a restart. */
  readonly info: EngineInfo | undefined;
  /** The latest posted statistics; before the first step, those of a free pool. */
  readonly stats: EngineStats;
  /**
   * What the prefix cache stores and drops, the latest events; a step's arrive before its tokens.
   */
  readonly kvEvents: NumberedLog<KvEvent>;
  /** Why sequences waited, were admitted, hit or were preempted, the latest decisions. */
  readonly decisions: NumberedLog<LoggedDecision>;
  /** Why the engine failed or restarts, one sentence. */
  readonly failure: string | undefined;
  /** Present while it has not got on with its work for unusually long. */
  readonly stall: EngineStall | undefined;
  /** Such stalls so far. */
  readonly numStalls: number;
  /** Isolates started so far in place of one that had died. */
  readonly numRestarts: number;
  /** Present while another engine is to take the place of one that was lost. */
  readonly outage: Outage | undefined;
  /** What is not as it was configured, one sentence; undefined when all is. */
  readonly notice: string | undefined;
  /** Requests handed to the engine that have neither ended nor been refused. */
  readonly numInFlight: number;
  /**
   * Hands a request to the engine and waits until it is admitted to the queue.
   *
   * @throws {RequestError} when it can never fit, or the queue is full (429).
   * @throws {EngineUnavailableError} while the engine is not ready.
   */
  submit(request: GenerationRequest): Promise<Generation>;
  /**
   * Sends a command, which the engine carries out between two steps, and waits for the answer.
   *
   * @throws {RequestError} when the engine refuses it. Nothing has changed.
   * @throws {EngineUnavailableError} while the engine is not ready, and when it ends before it
   * answers.
   */
  command<C extends EngineCommand>(command: C): Promise<ReplyOf<C>>;
}
