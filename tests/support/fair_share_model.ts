import { assert, assertEquals } from "@std/assert";
import type { GenerationRequest } from "../../src/core/generation.ts";
import type { SequenceId } from "../../src/core/ids.ts";
import type { KvDecision, WaitReason } from "../../src/core/kv_decision.ts";

/** Reasons of a sequence to wait that let others overtake it. */
const PREFIX_REASONS: ReadonlySet<WaitReason> = new Set([
  ...["shared_prefix", "sibling_prompt", "long_prefills"] as const,
]);

/** What the model knows of a sequence that has not ended. */
interface Known {
  readonly owner: string | undefined;
  readonly priority: number;
  state: "new" | "running" | "preempted";
  /** Left waiting in this step for the sake of a prefix that it can share. */
  isPassed: boolean;
}

/**
 * Holds every admission of a scheduler against the rule of fair shares, by its decisions alone.
 * Searches apart, where one sequence is not one seat.
 */
export class FairShareModel {
  readonly #requests = new Map<string, Pick<Known, "owner" | "priority">>();
  /** In order of arrival. */
  readonly #sequences = new Map<SequenceId, Known>();
  /** Admissions and refusals for want of blocks while sequences of several owners waited. */
  numContested = 0;

  /** Has to be told of each request before the scheduler. */
  submit({ id, owner, ownerPriority: priority = 0 }: GenerationRequest): void {
    this.#requests.set(id, { owner, priority });
  }

  /** Has to be told before each `schedule()`. */
  beginStep(): void {
    for (const known of this.#sequences.values()) known.isPassed = false;
  }

  /** Takes a decision; fails where another sequence's turn it was. */
  decided(decision: KvDecision): void {
    const { type, sequenceId } = decision;
    if (type === "queue") {
      const { owner, priority } = this.#requests.get(decision.requestId!)!;
      this.#sequences.set(sequenceId!, { owner, priority, state: "new", isPassed: false });
    }
    const known = this.#sequences.get(sequenceId!);
    if (type === "wait" && decision.reason === "queue") {
      this.#checkTurn(decision.headId);
      assert(
        known!.state !== "running" && sequenceId !== decision.headId,
        "it is not behind another",
      );
      return;
    }
    const isContested = (type === "wait" || type === "admit") && this.#checkTurn(sequenceId!);
    const isForSeat = type === "wait" && !("numFree" in decision);
    if (isContested && !isForSeat) this.numContested++;
    const isForPrefix = type === "wait" && PREFIX_REASONS.has(decision.reason);
    if (isForPrefix) known!.isPassed = true;
    if (type === "admit") known!.state = "running";
    if (type === "preempt") known!.state = "preempted";
    if (type === "free" || type === "end") this.#sequences.delete(sequenceId!);
  }

  /** Running sequences of an owner. */
  #numRunning(owner: string | undefined): number {
    const running = [...this.#sequences.values()].filter(({ state }) => state === "running");
    return running.filter((known) => known.owner === owner).length;
  }

  /** Returns whether it was a turn among several owners. */
  #checkTurn(id: SequenceId): boolean {
    const waits = ([, { state, isPassed }]: [SequenceId, Known]) =>
      state !== "running" && !isPassed;
    const waiting = [...this.#sequences].filter(waits);
    const preempted = waiting.filter(([, { state }]) => state === "preempted");
    if (preempted.length > 0) {
      assert(preempted.some(([other]) => other === id), `${id} overtakes a preempted sequence`);
      return false;
    }
    const firsts = new Map(waiting.toReversed().map(([other, { owner }]) => [owner, other]));
    const inTurn = [...firsts].sort(([ownerA, a], [ownerB, b]) =>
      this.#sequences.get(b)!.priority - this.#sequences.get(a)!.priority ||
      this.#numRunning(ownerA) - this.#numRunning(ownerB) || a - b
    );
    assertEquals(id, inTurn[0]?.[1], `the turn is not that of sequence ${id}`);
    return inTurn.length > 1;
  }
}
