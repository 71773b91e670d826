import type { SequenceGroup } from "../sequence_group.ts";
import { type AdmissionTurns, ListedTurns, type WaitingGroups } from "./admission_turns.ts";
import type { SchedulingPolicy } from "./scheduling_policy.ts";

/**
 * The most urgent first: by the priority of the owner, then by that of the request, then by
 * arrival; and one that waits takes the blocks of those that run and are less urgent.
 *
 * Bound: a group waits only for those that are more urgent or as urgent and earlier, and for less
 * urgent ones not at all, whatever runs. Less urgent ones may wait for ever: that is what the
 * policy is for. A step costs O(waiting groups * their logarithm).
 */
export class PriorityPolicy implements SchedulingPolicy {
  takeTurns({ preempted, owners }: WaitingGroups): AdmissionTurns {
    return new ListedTurns(() =>
      [...preempted, ...[...owners()].flatMap(({ waiting }) => waiting)].sort(byPriority)
    );
  }

  order(running: readonly SequenceGroup[]): readonly SequenceGroup[] {
    return running.toSorted(byPriority);
  }

  outranks(waiting: SequenceGroup, running: SequenceGroup): boolean {
    return comparePriorities(waiting, running) < 0;
  }
}

/** Negative where `a` is more urgent, 0 where both are as urgent. */
function comparePriorities(a: SequenceGroup, b: SequenceGroup): number {
  return b.ownerPriority - a.ownerPriority || b.requestPriority - a.requestPriority;
}

function byPriority(a: SequenceGroup, b: SequenceGroup): number {
  return comparePriorities(a, b) || a.id - b.id;
}
