import { type BlockKey, BlockKeyer } from "../../src/kvcache/prefix/block_key.ts";
import { KEY_SPACE } from "./scheduler_rig.ts";

const KEYER = new BlockKeyer(KEY_SPACE);
const MAX_KEYS = 100_000;

/** The key of a block, or of the root of a scope, that leads to the keys below it. */
export interface KeyNode {
  readonly key: BlockKey;
  /** Absent as long as there are none. */
  children: Map<number | string, KeyNode> | undefined;
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
  return known(parent.children ??= new Map(), name, make);
}

function known<K>(nodes: Map<K, KeyNode>, name: K, make: () => BlockKey): KeyNode {
  let node = nodes.get(name);
  if (node === undefined) {
    node = { key: make(), children: undefined };
    nodes.set(name, node);
    numKeys++;
  }
  return node;
}

/** The first tokens of a prompt, within a scope: one object, whoever comes to it. */
export interface Prefix {
  /** The last whole block. */
  readonly block: KeyNode;
  /** The tokens behind it. */
  readonly rest: readonly number[];
  /** Its last token. */
  readonly token: number;
  /** One that goes on from here by a token; undefined for none so far. */
  longer: Prefix | undefined;
  /** Another that goes on from the same one, by another token. */
  readonly other: Prefix | undefined;
}

/** No tokens of a scope; every call makes another. */
export function emptyPrefix(scope: string): Prefix {
  return { block: rootNode(scope), rest: [], token: -1, longer: undefined, other: undefined };
}

/** The prefix that has `token` behind `prefix`. O(different tokens behind it so far). */
export function extend(prefix: Prefix, token: number, blockSize: number): Prefix {
  const other = prefix.longer;
  for (let longer = other; longer !== undefined; longer = longer.other) {
    if (longer.token === token) return longer;
  }
  const tokens = [...prefix.rest, token];
  const isWhole = tokens.length === blockSize;
  prefix.longer = {
    block: isWhole ? childNode(prefix.block, tokens) : prefix.block,
    rest: isWhole ? [] : tokens,
    token,
    longer: undefined,
    other,
  };
  return prefix.longer;
}
