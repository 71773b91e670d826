import type { ErrorData } from "../core/errors.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import { BeamGroup } from "./beam_group.ts";
import type { Sequence } from "./sequence.ts";
import { beamsCannotGrow, cannotAdmit, cannotGrow } from "./submission.ts";

/** What an entry that runs alone is told when the pool has no room for its next tokens. */
export function outgrown(entry: Sequence, numTokens: number, blocks: BlockManager): ErrorData {
  return entry instanceof BeamGroup
    ? ofBeams(entry, blocks)
    : cannotGrow(numTokens, blocks, numPinned(blocks));
}

/** What an entry that would run alone is told when the pool has no room for it: pins may hold it. */
export function inadmissible(entry: Sequence, blocks: BlockManager): ErrorData {
  return entry instanceof BeamGroup
    ? ofBeams(entry, blocks)
    : cannotAdmit(entry.numTokens, blocks, numPinned(blocks));
}

function ofBeams(group: BeamGroup, blocks: BlockManager): ErrorData {
  const { numTokens } = group.leader;
  const numNeeded = blocks.numBlocksFor(numTokens) + group.numBlocksBesideLeader(blocks);
  const beams = { numBeams: group.members.length, numTokens, numNeeded };
  return beamsCannotGrow(beams, blocks, numPinned(blocks));
}

function numPinned({ pins }: BlockManager): number {
  return pins?.numBlocks ?? 0;
}
