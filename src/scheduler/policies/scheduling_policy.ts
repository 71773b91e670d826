import type { SequenceGroup } from "../sequence_group.ts";
import type { AdmissionTurns, WaitingGroups } from "./admission_turns.ts";

/**
 * Who is admitted next, and who gives way: all that differs between the policies of a scheduler.
 *
 * Plain decisions over groups, without blocks, clocks or devices; a policy is told of admissions
 * and ends where it keeps account of them.
 */
export interface SchedulingPolicy {
  /** The turns of one step. */
  takeTurns(waiting: WaitingGroups): AdmissionTurns;
  /**
   * The running groups, given in order of admission, in the order in which they get blocks and
   * what a step has left for prompts: the last gives its blocks back first. Does not change
   * `running`, and may be it.
   */
  order(running: readonly SequenceGroup[]): readonly SequenceGroup[];
  /** Whether a group that waits takes the blocks of one that runs; absent: never. */
  outranks?(waiting: SequenceGroup, running: SequenceGroup): boolean;
  /** A group that had never run is admitted. */
  admitted?(group: SequenceGroup): void;
  /** A group has ended, which waits or runs as its `state` still says. */
  ended?(group: SequenceGroup): void;
}

/**
 * Running groups as if their owners took turns: owners of a higher priority first, then each
 * owner's first, each owner's second and so on, of equals the earliest admitted first. So the owner
 * with the most running groups gives way first, by its latest. `running` itself where that is its
 * order.
 */
export function orderInTurns(running: readonly SequenceGroup[]): readonly SequenceGroup[] {
  const first = running[0];
  const isPlain = running.every(({ owner, ownerPriority }) =>
    owner === first!.owner && ownerPriority === first!.ownerPriority
  );
  if (isPlain) return running;
  const numOf = new Map<SequenceGroup["owner"], number>();
  const turns = running.map((group, i) => {
    const turn = numOf.get(group.owner) ?? 0;
    numOf.set(group.owner, turn + 1);
    return { group, turn, i };
  });
  turns.sort((a, b) =>
    b.group.ownerPriority - a.group.ownerPriority || a.turn - b.turn || a.i - b.i
  );
  return turns.map(({ group }) => group);
}
