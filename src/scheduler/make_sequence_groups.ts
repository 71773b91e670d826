import { invariant } from "../base/invariant.ts";
import type { GenerationRequest } from "../core/generation.ts";
import type { SequenceId } from "../core/ids.ts";
import type { TokenMatcher, TokenMatchers } from "../core/token_matcher.ts";
import { BeamGroup } from "./beam_group.ts";
import { promptIndices } from "./prefix_sharing.ts";
import { SampledSequence } from "./sampled_sequence.ts";
import type { SequenceGroup } from "./sequence_group.ts";

/** The numbers that the groups of a request are made with. */
export interface SequenceGroupOptions {
  /** The request's sequences have this id and those that follow, one each. */
  readonly firstId: SequenceId;
  /** Most tokens of one sequence, prompt and output. */
  readonly maxModelLen: number;
  /** Follow the sequences that have a grammar. */
  readonly matchers?: TokenMatchers | undefined;
}

/**
 * The groups of a request: one per sequence, or one per search.
 *
 * @throws {RequestError} when a grammar cannot be matched. No matcher is left open.
 */
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
    priority: request.priority ?? 0,
    caching,
    isReheat: request.isReheat ?? false,
  });
  const { sequences, beamSearch } = request;
  if (beamSearch === undefined) {
    const promptIndex = promptIndices(sequences);
    const matchers = makeMatchers(request, options);
    return sequences.map((sequence, index) => {
      const own = { ...identity(index), promptIndex: promptIndex[index]! };
      return new SampledSequence(own, sequence, matchers[index]);
    });
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

/** All matchers of a request's sequences, or none of them. */
function makeMatchers(
  { id, sequences }: GenerationRequest,
  { firstId, matchers }: SequenceGroupOptions,
): (TokenMatcher | undefined)[] {
  const made: (TokenMatcher | undefined)[] = [];
  try {
    for (const [index, { grammar }] of sequences.entries()) {
      invariant(
        grammar === undefined || matchers !== undefined,
        `request ${id} has a grammar, and nothing matches grammars`,
      );
      made.push(grammar === undefined ? undefined : matchers!.create(grammar, firstId + index));
    }
    return made;
  } catch (error) {
    for (const matcher of made) matcher?.close();
    throw error;
  }
}
