import { invariant } from "../base/invariant.ts";
import type { GenerationRequest } from "../core/generation.ts";
import type { SequenceId } from "../core/ids.ts";
import { scopeAtLength } from "../core/long_context.ts";
import type { TokenMatcher } from "../core/token_matcher.ts";
import { type CachingOptions, OPEN_SCOPE } from "../kvcache/tables/sequence_path.ts";
import { BeamGroup } from "./beam_group.ts";
import { promptIndices } from "./prefix_sharing.ts";
import { SampledSequence } from "./sampled_sequence.ts";
import type { SchedulerOptions } from "./scheduler_options.ts";
import type { SequenceIdentity } from "./sequence.ts";
import type { SequenceGroup } from "./sequence_group.ts";

const NO_TOKENS = new Uint32Array();

/** The numbers that the groups of a request are made with. */
export interface SequenceGroupOptions
  extends Pick<SchedulerOptions, "maxModelLen" | "shortContextLen" | "matchers"> {
  /** The request's sequences have this id and those that follow, one each. */
  readonly firstId: SequenceId;
  /** When the request has come, in milliseconds. */
  readonly nowMs: number;
}

/**
 * The groups of a request: one per sequence, or one per search. Of a resumed request, those of
 * sequences that have not ended; searches begin anew, since they report all at their end.
 *
 * @throws {RequestError} when a grammar cannot be matched. No matcher is left open.
 */
export function makeSequenceGroups(
  request: GenerationRequest,
  options: SequenceGroupOptions,
): SequenceGroup[] {
  const { sequences, beamSearch, resumed } = request;
  invariant(
    resumed === undefined || resumed.sequences.length === sequences.length,
    `request ${request.id} of ${sequences.length} sequences resumes ${resumed?.sequences.length}`,
  );
  if (beamSearch === undefined) return makeSampledSequences(request, options);
  const { width } = beamSearch;
  invariant(
    sequences.length % width === 0,
    `request ${request.id} wants ${sequences.length} answers of searches of ${width}`,
  );
  return Array.from({ length: sequences.length / width }, (_, i) => i * width)
    .filter((first) => !hasEnded(request, first))
    .map((first) => {
      const searchOptions = { beamSearch, maxModelLen: options.maxModelLen };
      return new BeamGroup(identityOf(request, first, options), sequences[first]!, searchOptions);
    });
}

function makeSampledSequences(
  request: GenerationRequest,
  options: SequenceGroupOptions,
): SampledSequence[] {
  const promptIndex = promptIndices(request.sequences);
  const matchers = makeMatchers(request, options);
  try {
    return request.sequences.flatMap((sequence, index) => {
      if (hasEnded(request, index)) return [];
      const own = { ...identityOf(request, index, options), promptIndex: promptIndex[index]! };
      const tokens = drawnTokens(request, index);
      if (tokens.length === 0) return [new SampledSequence(own, sequence, matchers[index])];
      // What was read of its prompt has been reported with its first token.
      const { readout: _, ...unread } = sequence;
      const resumed = new SampledSequence(own, unread, matchers[index]);
      resumed.resume(tokens);
      return [resumed];
    });
  } catch (error) {
    for (const matcher of matchers) matcher?.close();
    throw error;
  }
}

function identityOf(
  request: GenerationRequest,
  index: number,
  { firstId, nowMs, shortContextLen }: SequenceGroupOptions,
): SequenceIdentity {
  const { timeoutMs, resumed } = request;
  const numTokens = request.sequences[index]!.prompt.length + drawnTokens(request, index).length;
  const arrivedMs = nowMs - (resumed?.elapsedMs ?? 0);
  return {
    id: firstId + index,
    requestId: request.id,
    index,
    owner: request.owner,
    caching: cachingAtLength(cachingOf(request), numTokens, shortContextLen),
    ownerPriority: request.ownerPriority ?? 0,
    requestPriority: request.requestPriority ?? 0,
    timeoutMs,
    deadlineMs: timeoutMs === undefined ? undefined : arrivedMs + timeoutMs,
    isReheat: request.isReheat ?? false,
  };
}

function hasEnded({ resumed }: GenerationRequest, index: number): boolean {
  return resumed?.sequences[index]?.hasEnded ?? false;
}

/** The tokens that a sequence has drawn in an engine before this one. */
function drawnTokens({ resumed }: GenerationRequest, index: number): Uint32Array {
  return resumed?.sequences[index]?.tokens ?? NO_TOKENS;
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
  const own = caching.scope ?? OPEN_SCOPE;
  const scope = scopeAtLength(own, numTokens, shortContextLen);
  return scope === own ? caching : { ...caching, scope };
}

/** All matchers of a request's sequences that have not ended, or none of them. */
function makeMatchers(
  request: GenerationRequest,
  { firstId, matchers }: SequenceGroupOptions,
): (TokenMatcher | undefined)[] {
  const { id, sequences } = request;
  const made: (TokenMatcher | undefined)[] = [];
  try {
    for (const [index, { grammar }] of sequences.entries()) {
      invariant(
        grammar === undefined || matchers !== undefined,
        `request ${id} has a grammar, and nothing matches grammars`,
      );
      const isMatched = grammar !== undefined && !hasEnded(request, index);
      made.push(isMatched ? matchers!.create(grammar, firstId + index) : undefined);
    }
    return made;
  } catch (error) {
    for (const matcher of made) matcher?.close();
    throw error;
  }
}
