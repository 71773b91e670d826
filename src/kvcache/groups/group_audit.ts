import { invariant } from "../../base/invariant.ts";
import type { BlockId, SequenceId } from "../../core/ids.ts";
import type { CopyQueue } from "./copy_queue.ts";
import type { GroupCache } from "./group_cache.ts";
import type { GroupSpec } from "./group_spec.ts";
import type { GroupTables } from "./group_tables.ts";
import { NO_BLOCK } from "./hybrid_hit.ts";

/** All that a group manager owns. */
export interface GroupsState {
  readonly cache: GroupCache;
  readonly copies: CopyQueue;
  readonly sequences: ReadonlyMap<SequenceId, GroupTables>;
}

/**
 * Fails unless every reference and every mark of the pool has its one reason.
 *
 * A block's count is the number of tables, encoder inputs and unfinished copies that hold it; it is
 * marked exactly if it has a key or belongs to an encoder entry; and no byte is used or cached
 * beyond those. Without sequences and copies every slab is available. O(pool + tables).
 */
export function checkGroups(groups: readonly GroupSpec[], state: GroupsState): void {
  const { copies, sequences } = state;
  const { pool, index, entries } = state.cache;
  pool.checkIntegrity();
  index.checkIntegrity();
  entries.checkIntegrity();
  const numHolders = groups.map(() => new Map<BlockId, number>());
  const hold = (group: number, id: BlockId) => {
    numHolders[group]!.set(id, (numHolders[group]!.get(id) ?? 0) + 1);
  };
  for (const [sequenceId, sequence] of sequences) {
    const blocks = heldBlocks(sequence);
    const names = new Set(blocks.map(([group, id]) => `${group}:${id}`));
    invariant(names.size === blocks.length, `sequence ${sequenceId} holds a block twice`);
    for (const [group, id] of blocks) hold(group, id);
  }
  for (const { group, from, to } of copies.unfinished()) {
    hold(group, from);
    hold(group, to);
  }
  let [usedBytes, cachedBytes] = [0, 0];
  groups.forEach((spec, group) => {
    for (const [id, count] of numHolders[group]!) {
      const refCount = pool.refCount(group, id);
      invariant(refCount === count, `block ${id} of ${spec.name}: ${count} holders, ${refCount}`);
      usedBytes += spec.blockBytes;
    }
    for (const id of [...index.blocks(group), ...entries.blocks(group)]) {
      invariant(pool.isMarked(group, id), `block ${id} of ${spec.name} has a key and no mark`);
      if (!numHolders[group]!.has(id)) cachedBytes += spec.blockBytes;
    }
  });
  const usage = pool.usage();
  invariant(
    usage.usedBytes === usedBytes && usage.cachedBytes === cachedBytes,
    `${usedBytes} bytes held and ${cachedBytes} cached, the pool has ${JSON.stringify(usage)}`,
  );
  invariant(pool.numOwners <= sequences.size, `${pool.numOwners} owners, ${sequences.size} alive`);
  const isIdle = sequences.size === 0 && copies.numUnfinished === 0;
  invariant(!isIdle || pool.numAvailableSlabs === pool.numSlabs, "idle, and a slab is in use");
}

function heldBlocks({ tables, inputs }: GroupTables): [number, BlockId][] {
  return [
    ...tables.flatMap((table, group) =>
      table.filter((id) => id !== NO_BLOCK).map((id): [number, BlockId] => [group, id])
    ),
    ...inputs.flatMap(({ group, blocks }) => blocks.map((id): [number, BlockId] => [group, id])),
  ];
}
