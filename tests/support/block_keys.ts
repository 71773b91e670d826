import { type BlockKey, BlockKeyer } from "../../src/kvcache/prefix/block_key.ts";
import { KEY_SPACE } from "./scheduler_rig.ts";

const KEYER = new BlockKeyer(KEY_SPACE);
const MAX_KEYS = 100_000;

/** The key of a block, or of the root of a scope, that leads to the keys below it. */
export interface KeyNode {
  readonly key: BlockKey;
  readonly children: Map<number | string, KeyNode>;
}

/** By scope. Keys are made once for all histories, which begin alike. */
const ROOTS = new Map<string, KeyNode>();
let numKeys = 0;

/** The root of a scope in {@link KEY_SPACE}. */
export function rootNode(scope: string): KeyNode {
  if (numKeys > MAX_KEYS) {
    ROOTS.clear();
    numKeys = 0;
  }
  return known(ROOTS, scope, () => KEYER.rootKey(scope));
}

/** The block that holds `tokens` below `parent`. */
export function childNode(
  parent: KeyNode,
  tokens: readonly number[],
  extras: readonly string[] = [],
): KeyNode {
  const isOne = tokens.length === 1 && extras.length === 0;
  const name = isOne ? tokens[0]! : `${tokens};${extras}`;
  const make = () => KEYER.childKey(parent.key, new Uint32Array(tokens), extras);
  return known(parent.children, name, make);
}

function known<K>(nodes: Map<K, KeyNode>, name: K, make: () => BlockKey): KeyNode {
  let node = nodes.get(name);
  if (node === undefined) {
    node = { key: make(), children: new Map() };
    nodes.set(name, node);
    numKeys++;
  }
  return node;
}
