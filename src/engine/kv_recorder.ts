import type { KvDecision, LoggedDecision, WaitReason } from "../core/kv_decision.ts";
import type { KvEvent } from "../core/kv_event.ts";
import type { RequestId, SequenceId } from "../core/ids.ts";
import type { CacheListener, RemovedBlock, StoredBlock } from "../kvcache/cache_listener.ts";

/** What has happened since the last `take`. */
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

/** Sequences whose request is remembered; more than can wait and run at once. */
const MAX_SEQUENCES = 1 << 17;

/**
 * Collects what the KV cache does and why, step by step, as plain data for the main isolate.
 *
 * Blocks stored or removed one after the other become one event. Costs O(1) per block and decision, and
 * nothing is kept once taken but which request each sequence is of.
 */
export class KvRecorder implements CacheListener {
  #events: OpenEvent[] = [];
  #decisions: LoggedDecision[] = [];
  /** Why each waiting sequence waits, as last noted. */
  readonly #waits = new Map<SequenceId, WaitReason>();
  readonly #requests = new Map<SequenceId, { requestId: RequestId; index: number }>();

  stored({ key, parentKey, tokens, scope, group }: StoredBlock): void {
    const last = this.#events.at(-1);
    if (last?.type === "stored" && last.keys.at(-1) === parentKey) {
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

  removed({ key, group }: RemovedBlock): void {
    const last = this.#events.at(-1);
    if (last?.type === "removed") last.keys.push(key);
    else this.#events.push({ type: "removed", keys: [key], group });
  }

  used(key: string): void {
    this.#events.push({ type: "used", key });
  }

  cleared(): void {
    this.#events.push({ type: "cleared" });
  }

  /** Notes a decision made for step number `step`; a wait only when it begins or its reason changes. */
  decided(decision: KvDecision, step: number): void {
    const { sequenceId } = decision;
    if (decision.type === "wait") {
      if (this.#waits.get(sequenceId) === decision.reason) return;
      this.#waits.set(sequenceId, decision.reason);
    } else if (decision.type === "admit" || decision.type === "free") {
      this.#waits.delete(sequenceId);
    }
    if (decision.type === "queue") {
      const { requestId, index } = decision;
      this.#requests.set(sequenceId, { requestId, index });
      if (this.#requests.size > MAX_SEQUENCES) {
        this.#requests.delete(this.#requests.keys().next().value!);
      }
    }
    const request = this.#requests.get(sequenceId);
    this.#decisions.push({ ...decision, ...request, step });
  }

  /** Hands over what has been collected and starts anew; undefined when there is nothing. */
  take(): KvRecords | undefined {
    if (this.#events.length === 0 && this.#decisions.length === 0) return undefined;
    const records = { kvEvents: this.#events, decisions: this.#decisions };
    this.#events = [];
    this.#decisions = [];
    return records;
  }
}
