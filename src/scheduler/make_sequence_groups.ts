import { invariant } from "../base/invariant.ts";
import type { GenerationRequest } from "../core/generation.ts";
import type { SequenceId } from "../core/ids.ts";
import { BeamGroup } from "./beam_group.ts";
import { promptGroups } from "./prefix_sharing.ts";
import { SampledSequence } from "./sampled_sequence.ts";
import type { SequenceGroup } from "./sequence_group.ts";

/** What the groups of a request are made with. */
export interface SequenceGroupOptions {
  /** The request's sequences have this id and those that follow, one each. */
  readonly firstId: SequenceId;
  /** Most tokens of one sequence, prompt and output. */
  readonly maxModelLen: number;
}

/** The groups of a request: one per sequence, or one per search. */
export function makeSequenceGroups(
  request: GenerationRequest,
  options: SequenceGroupOptions,
): SequenceGroup[] {
  const { cacheScope: scope, cacheRetention: retention } = request;
  const caching = {
    ...(scope === undefined ? {} : { scope }),
    ...(retention === undefined ? {} : { retention }),
  };
  const identity = (index: number) => ({
    id: options.firstId + index,
    requestId: request.id,
    index,
    owner: request.owner,
    caching,
    isReheat: request.isReheat ?? false,
  });
  const { sequences, beamSearch } = request;
  if (beamSearch === undefined) {
    const groups = promptGroups(sequences);
    return sequences.map((sequence, index) =>
      new SampledSequence({ ...identity(index), promptGroup: groups[index]! }, sequence)
    );
  }
  const { width } = beamSearch;
  invariant(
    sequences.length % width === 0,
    `request ${request.id} wants ${sequences.length} answers of searches of ${width}`,
  );
  return Array.from({ length: sequences.length / width }, (_, i) => {
    const searchOptions = { beamSearch, maxModelLen: options.maxModelLen };
    return new BeamGroup(identity(i * width), sequences[i * width]!, searchOptions);
  });
}
