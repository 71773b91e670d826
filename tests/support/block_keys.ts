import { type BlockKey, BlockKeyer } from "../../src/kvcache/prefix/block_key.ts";
import { KEY_SPACE } from "./scheduler_rig.ts";

const KEYER = new BlockKeyer(KEY_SPACE);
/** Keys of blocks by what they are of, each made once: histories begin alike. */
const KEYS = new Map<string, BlockKey>();
const MAX_KEYS = 100_000;

/** The key of the root of a scope in {@link KEY_SPACE}. */
export function rootKey(scope: string): BlockKey {
  return KEYER.rootKey(scope);
}

/** The key of the block that holds `tokens` after the one with the key `parent`. */
export function childKey(
  parent: BlockKey,
  tokens: readonly number[],
  extras: readonly string[] = [],
): BlockKey {
  const name = `${parent} ${tokens} ${extras}`;
  const known = KEYS.get(name);
  if (known !== undefined) return known;
  const key = KEYER.childKey(parent, Uint32Array.from(tokens), extras);
  if (KEYS.size === MAX_KEYS) KEYS.clear();
  KEYS.set(name, key);
  return key;
}
