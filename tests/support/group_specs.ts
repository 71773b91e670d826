import type {
  ChunkedLocalSpec,
  EncoderSpec,
  FullAttentionSpec,
  SlidingWindowSpec,
  StateSpaceSpec,
} from "../../src/kvcache/groups/group_spec.ts";

/** A full attention group; blocks of 4 bytes unless said otherwise. */
export function fullGroup(tokensPerBlock: number, blockBytes = 4): FullAttentionSpec {
  return { kind: "full", name: "full", tokensPerBlock, blockBytes };
}

/** A sliding window group, with attention sinks where given. */
export function windowGroup(
  tokensPerBlock: number,
  windowTokens: number,
  { blockBytes = 4, numSinkTokens = 0 } = {},
): SlidingWindowSpec {
  const name = "window";
  return { kind: "sliding-window", name, tokensPerBlock, blockBytes, windowTokens, numSinkTokens };
}

/** A chunked-local group. */
export function chunkGroup(
  tokensPerBlock: number,
  chunkTokens: number,
  blockBytes = 4,
): ChunkedLocalSpec {
  return { kind: "chunked-local", name: "chunk", tokensPerBlock, blockBytes, chunkTokens };
}

/** A state space group with snapshots every `tokensPerBlock` positions. */
export function stateGroup(tokensPerBlock: number, blockBytes = 4): StateSpaceSpec {
  return { kind: "state-space", name: "state", tokensPerBlock, blockBytes };
}

/** An encoder group: keys and values for cross-attention, or embeddings for placeholders. */
export function encoderGroup(
  tokensPerBlock: number,
  lifetime: EncoderSpec["lifetime"],
  blockBytes = 4,
): EncoderSpec {
  return { kind: "encoder", name: "encoder", tokensPerBlock, blockBytes, lifetime };
}
