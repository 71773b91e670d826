import { invariant } from "../base/invariant.ts";
import type { BlockCopy } from "../core/batch.ts";
import type { SequenceRequest } from "../core/generation.ts";
import type { TokenId } from "../core/ids.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import { commonLength } from "./prefix_sharing.ts";
import { Sequence, type SequenceIdentity } from "./sequence.ts";

/**
 * One beam of a search: a sequence with an id and a block table of its own. Its `state` says
 * whether it has that table ("running") or is still to fork another beam ("waiting").
 */
export class Beam extends Sequence {
  /**
   * Beam `beamIndex` of `[0, width)` of the search `identity`, whose answer so far is `outputs`.
   */
  constructor(
    { id, index, ...identity }: SequenceIdentity,
    request: SequenceRequest,
    beamIndex: number,
    outputs: Iterable<TokenId>,
  ) {
    super({ ...identity, id: id + beamIndex, index: index + beamIndex }, request);
    for (const token of outputs) this.append(token);
  }

  /** Whether all but the newest token is computed. */
  get isReady(): boolean {
    return this.state === "running" && this.numUncomputedTokens === 1;
  }
}

/** A beam that can fork another now: the source has computed all that the two have in common. */
export interface BeamFork {
  readonly beam: Beam;
  readonly source: Beam;
  /** Leading tokens that the two have in common. */
  readonly numShared: number;
}

/** Gives a beam its tables, by a fork, and returns the copies that it needs. */
export function forkBeam(
  { beam, source, numShared }: BeamFork,
  blocks: BlockManager,
): readonly BlockCopy[] {
  const { id, numTokens, caching } = beam;
  const fork = { source: source.id, numTokens, numShared, isOfRunningGroup: true };
  const admission = blocks.tryFork(id, fork, caching);
  invariant(
    admission !== undefined,
    `beam ${id} is a fork of ${numTokens} tokens, ${numShared} of them shared, and lacks ` +
      `blocks: ${blocks.numFree} are free and ${blocks.numIdle} cached`,
  );
  beam.state = "running";
  beam.numComputedTokens = numShared;
  return admission.copies;
}

/**
 * Length of the common prefix of two beams of a group; they share the prompt and differ at the end.
 */
export function numCommonTokens(a: Beam, b: Beam): number {
  const limit = Math.min(a.numTokens, b.numTokens) - 1;
  return commonLength(a.allTokens, b.allTokens, limit, a.numPromptTokens);
}
