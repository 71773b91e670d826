import { invariant } from "../base/invariant.ts";
import type { GenerationRequest } from "../core/generation.ts";
import type { SequenceId } from "../core/ids.ts";
import { scopeAtLength } from "../core/long_context.ts";
import type { TokenMatcher, TokenMatchers } from "../core/token_matcher.ts";
import { type CachingOptions, SHARED_SCOPE } from "../kvcache/tables/sequence_path.ts";
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
  /** As of {@link SchedulerOptions}. */
  readonly shortContextLen?: number | undefined;
  /** When the request has come, in milliseconds. */
  readonly nowMs: number;
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
  const { sequences, beamSearch } = request;
  const identity = (index: number) => ({
    id: options.firstId + index,
    requestId: request.id,
    index,
    owner: request.owner,
    caching: cachingAtLength(
      cachingOf(request),
      sequences[index]!.prompt.length,
      options.shortContextLen,
    ),
    priority: request.priority ?? 0,
    urgency: request.urgency ?? 0,
    timeoutMs: request.timeoutMs,
    deadlineMs: request.timeoutMs === undefined ? undefined : options.nowMs + request.timeoutMs,
    isReheat: request.isReheat ?? false,
  });
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

function cachingOf({ cacheScope: scope, cacheRetention: retention }: GenerationRequest) {
  return {
    ...(scope === undefined ? {} : { scope }),
    ...(retention === undefined ? {} : { retention }),
  };
}

/** How KV of a sequence of so many tokens is cached; `caching` itself where it is already so. */
export function cachingAtLength(
  caching: CachingOptions,
  numTokens: number,
  shortContextLen: number | undefined,
): CachingOptions {
  const own = caching.scope ?? SHARED_SCOPE;
  const scope = scopeAtLength(own, numTokens, shortContextLen);
  return scope === own ? caching : { ...caching, scope };
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
