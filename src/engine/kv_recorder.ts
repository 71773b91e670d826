import type { Batch } from "../core/batch.ts";
import type { RequestId, SequenceId } from "../core/ids.ts";
import {
  type KvDecision,
  type LoggedDecision,
  otherSequenceOf,
  type WaitReason,
} from "../core/kv_decision.ts";
import type { KvEvent } from "../core/kv_event.ts";
import type {
  CacheListener,
  RemovedBlocks,
  StoredBlock,
} from "../kvcache/prefix/cache_listener.ts";

/** The events and decisions since they were last drained. */
export interface KvRecords {
  readonly kvEvents: readonly KvEvent[];
  readonly decisions: readonly LoggedDecision[];
}

/** An event that may still grow. */
type OpenEvent =
  | {
    readonly type: "stored";
    readonly keys: string[];
    readonly parentKey: string;
    readonly tokens: number[];
    readonly scope: string;
    readonly group: number;
  }
  | { readonly type: "removed"; readonly keys: string[]; readonly group: number }
  | Extract<KvEvent, { type: "used" | "cleared" }>;

/** What is noted of a decision. */
interface Stamp {
  step: number;
  timeMs?: number;
  requestId?: RequestId;
  index?: number;
  otherRequestId?: RequestId;
}

/** Which request a sequence is of, and why it waits, if it does. */
interface KnownSequence {
  readonly requestId: RequestId;
  readonly index: number;
  waits: WaitReason | undefined;
}

/**
 * Collects what the KV cache does and why, step by step, as plain data for the main isolate.
 *
 * Blocks of a group stored or removed one after the other become one event. Costs O(1) per block
 * and decision, and nothing is kept once taken but which request each unfinished sequence is of.
 */
export class KvRecorder implements CacheListener {
  #events: OpenEvent[] = [];
  #decisions: LoggedDecision[] = [];
  readonly #sequences = new Map<SequenceId, KnownSequence>();
  readonly #unixMs: (() => number) | undefined;

  /** `unixMs` tells when decisions are made; absent: they carry no time. */
  constructor(unixMs?: () => number) {
    this.#unixMs = unixMs;
  }

  stored({ key, parentKey, tokens, scope, group }: StoredBlock): void {
    const last = this.#events.at(-1);
    const isNext = last?.type === "stored" && last.keys.at(-1) === parentKey;
    if (isNext && last.group === group) {
      last.keys.push(key);
      last.tokens.push(...tokens);
    } else {
      this.#events.push({
        type: "stored",
        keys: [key],
        parentKey,
        tokens: [...tokens],
        scope,
        group,
      });
    }
  }

  removed({ keys, group }: RemovedBlocks): void {
    const last = this.#events.at(-1);
    if (last?.type === "removed" && last.group === group) {
      for (const key of keys) last.keys.push(key);
    } else this.#events.push({ type: "removed", keys: [...keys], group });
  }

  used(key: string): void {
    this.#events.push({ type: "used", key });
  }

  cleared(): void {
    this.#events.push({ type: "cleared" });
  }

  /**
   * Notes a decision made for step number `step`; a wait only when it begins or its reason changes.
   * Every sequence has a first ("queue") and a last one ("free" or "end").
   */
  decided(decision: KvDecision, step: number): void {
    const { type, sequenceId } = decision;
    if (type === "queue") {
      const { requestId, index } = decision;
      this.#sequences.set(sequenceId, { requestId, index, waits: undefined });
    }
    const known = sequenceId === undefined ? undefined : this.#sequences.get(sequenceId);
    const waits = type === "wait" ? decision.reason : undefined;
    if (waits !== undefined && known?.waits === waits) return;
    if (known !== undefined) known.waits = waits;
    const logged: KvDecision & Stamp = { ...decision, step };
    if (known !== undefined) {
      logged.requestId = known.requestId;
      // One that is of a single answer of a search names it itself.
      logged.index ??= known.index;
    }
    const other = otherSequenceOf(decision);
    const otherRequestId = other === undefined ? undefined : this.#sequences.get(other)?.requestId;
    if (otherRequestId !== undefined) logged.otherRequestId = otherRequestId;
    if (this.#unixMs !== undefined) logged.timeMs = this.#unixMs();
    this.#decisions.push(logged);
    if (type === "free" || type === "end") this.#sequences.delete(decision.sequenceId);
  }

  /**
   * A step is planned: notes its chunks of prompts, and of what is computed again. Those of one
   * token in an answer, which are nearly all, cost a comparison each.
   */
  planned({ step, chunks }: Batch): void {
    for (const { sequenceId, start, tokens: { length: count }, draw } of chunks) {
      if (count === 1 && draw !== undefined && draw.outputIndex > 0) continue;
      this.decided({ type: "chunk", sequenceId, start, count }, step);
    }
  }

  /** Returns the records so far and forgets them; undefined when there are none. */
  drain(): KvRecords | undefined {
    if (this.#events.length === 0 && this.#decisions.length === 0) return undefined;
    const records = { kvEvents: this.#events, decisions: this.#decisions };
    this.#events = [];
    this.#decisions = [];
    return records;
  }
}
