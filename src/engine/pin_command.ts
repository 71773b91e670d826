import type { EngineCommand, ReplyOf } from "../core/engine_command.ts";
import { RequestError } from "../core/errors.ts";
import { scopeAtLength } from "../core/long_context.ts";
import type { PinnedPrefixes } from "../kvcache/prefix/pinned_prefixes.ts";
import { OPEN_SCOPE } from "../kvcache/tables/sequence_path.ts";

type PinCommand = Extract<EngineCommand, { type: "pin_prefix" }>;

/**
 * Pins the cached blocks of a prefix against eviction; the name's former pin goes.
 *
 * @param pins of the prefix cache; undefined without one.
 * @param shortContextLen as of the scheduler: a prefix of more tokens is pinned as sequences that
 * long have it.
 * @throws {RequestError} when there is no cache, or the cap would be exceeded. Nothing has changed.
 */
export function pinPrefix(
  pins: PinnedPrefixes | undefined,
  { name, cacheScope = OPEN_SCOPE, tokens }: PinCommand,
  shortContextLen?: number,
): ReplyOf<PinCommand> {
  if (pins === undefined) {
    throw new RequestError("The prefix cache is off: nothing can be pinned", {
      code: "prefix_cache_off",
    });
  }
  const scope = scopeAtLength(cacheScope, tokens.length, shortContextLen);
  const numBlocks = pins.pin(name, scope, tokens);
  return {
    numBlocks,
    numTokens: pins.numTokensOf(name),
    numPinned: pins.numBlocks,
    maxNumPinned: pins.maxNumBlocks,
  };
}
