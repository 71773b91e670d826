import type { SequenceGroup } from "../sequence_group.ts";
import {
  type AdmissionTurns,
  type OwnerQueue,
  OwnerTurns,
  PreemptedFirst,
  type WaitingGroups,
} from "./admission_turns.ts";
import { orderInTurns, type SchedulingPolicy } from "./scheduling_policy.ts";

/**
 * First come, first served within an owner; owners take turns.
 *
 *     preempted  [ 7 | 9 ]                  first, in their order: they have run before
 *     owner a    [ 12 | 13 | 14 ]  3 seats
 *     owner b    [ 15 ]            1 seat   next: the owner with the fewest running seats,
 *     owner c    [ 16 ]            1 seat   between equals the one whose first came first
 *
 * Owners of a higher priority have their turns before those of a lower one, whatever runs.
 *
 * Bound: among owners of one priority, an owner whose next group does not fit is overtaken only by
 * earlier arrivals and by owners with fewer seats, so at the latest when its own running groups
 * have ended. With one owner nothing is overtaken. A turn costs O(owners with work in the engine).
 */
export class FcfsPolicy implements SchedulingPolicy {
  takeTurns({ preempted, owners }: WaitingGroups): AdmissionTurns {
    return new PreemptedFirst(preempted, new FcfsTurns(owners()));
  }

  order(running: readonly SequenceGroup[]): readonly SequenceGroup[] {
    return orderInTurns(running);
  }
}

/** Turns of owners: the one of the highest priority, then with the fewest running seats. */
class FcfsTurns extends OwnerTurns {
  protected nextQueue(): OwnerQueue | undefined {
    let best: OwnerQueue | undefined;
    for (const queue of this.owners) {
      const first = this.firstOf(queue);
      if (first === undefined) continue;
      const rival = best && this.firstOf(best)!;
      const order = rival === undefined ? -1 : rival.ownerPriority - first.ownerPriority ||
        queue.numSeats - best!.numSeats || first.id - rival.id;
      if (order < 0) best = queue;
    }
    return best;
  }
}
