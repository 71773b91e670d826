import type { KvEvent } from "../../src/core/kv_event.ts";
import type { PrefixRecord } from "../../src/prefix_store/prefix_record.ts";

/** Tokens per block of the fake cache. */
export const BLOCK = 2;

/** The key of the block at the end of a path of letters, two tokens each: `a`, `ab`, `abc`. */
export function keyOf(path: string, scope = ""): string {
  return path === "" ? `root(${scope})` : `${scope}:${path}`;
}

/** The two tokens that a letter stands for. */
export function tokensOf(path: string): number[] {
  return [...path].flatMap((letter) => [letter.charCodeAt(0), letter.charCodeAt(0) + 1000]);
}

/** The blocks of `path` from position `from` on have become findable. */
export function stored(path: string, { from = 0, scope = "", group = 0 } = {}): KvEvent {
  const keys = [...path].map((_, i) => keyOf(path.slice(0, i + 1), scope)).slice(from);
  const parentKey = keyOf(path.slice(0, from), scope);
  return { type: "stored", keys, parentKey, tokens: tokensOf(path.slice(from)), scope, group };
}

/** A prompt has found the blocks of `path`. */
export function used(path: string, scope = ""): KvEvent {
  return { type: "used", key: keyOf(path, scope) };
}

/** A record as a store holds it. */
export function recordOf(path: string, { hits = 0, lastUsed = 0, scope = "" } = {}): PrefixRecord {
  return {
    key: keyOf(path, scope),
    parentKey: keyOf(path.slice(0, -1), scope),
    scope,
    tokens: Uint32Array.from(tokensOf(path.slice(-1))),
    hits,
    lastUsed,
  };
}
