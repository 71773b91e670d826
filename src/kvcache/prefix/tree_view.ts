import type { TreeRun, TreeView } from "../../core/engine_view.ts";
import type { GroupedBlocks } from "./cached_blocks.ts";
import type { NodeBlocks } from "./node_blocks.ts";
import type { PinnedPrefixes } from "./pinned_prefixes.ts";
import { ABSENT, type NodeId, type RadixTree, rootOf } from "./radix_tree.ts";

const NONE = -1;

/** A path of the tree, by its last node. */
export interface PathName {
  readonly node: NodeId;
  /** As of {@link RadixTree.hashOf}. */
  readonly hash: number;
  readonly scope: string;
}

/** Tables and pins that hold each node, and whether a pin does, by node. */
export interface NodeHolders {
  readonly holders: Uint32Array;
  readonly pinned: Uint8Array;
}

/** What a view tells of nodes beside the tree. */
export interface ViewOptions extends NodeHolders {
  readonly maxNumRuns: number;
  /** The clock that hits were noted by. */
  readonly nowMs: number;
}

/** Sums over each node and all that is below it, by node. */
interface Sums {
  /** All nodes, each before those below it. */
  readonly order: Int32Array;
  readonly numNodes: Uint32Array;
  readonly numHits: Uint32Array;
  /** -1 where there was no hit. */
  readonly lastMs: Float64Array;
}

/** A run in the making. */
interface OpenRun {
  readonly parent: number;
  readonly first: NodeId;
  last: NodeId;
  numBlocks: number;
}

/** What holds nodes. */
export interface ViewedNodes extends Pick<GroupedBlocks, "pool" | "tree" | "groups"> {
  readonly pins: PinnedPrefixes;
  /** Absent where a node is its block. */
  readonly columns: NodeBlocks | undefined;
}

/** Who holds which node of a cache. O(capacity of the tree). */
export function holdersOfNodes({ pool, tree, groups, pins, columns }: ViewedNodes): NodeHolders {
  const pinnedBlocks = pins.flags(pool.numBlocks);
  const holders = new Uint32Array(tree.capacity);
  if (columns === undefined) {
    for (let node = 0; node < holders.length; node++) holders[node] = pool.refCount(node);
    return { holders, pinned: pinnedBlocks };
  }
  const pinned = new Uint8Array(tree.capacity);
  for (let node = 0; node < columns.capacity; node++) {
    holders[node] = columns.numHolders(node);
    const isPinned = groups.some((_, group) => pinnedBlocks[columns.blockOf(node, group)] === 1);
    pinned[node] = Number(isPinned);
  }
  return { holders, pinned };
}

/**
 * The runs of a tree, of which the view has the largest and most used: those of the greatest
 * product of blocks and hits, each summed over all that is below. That product never grows on the
 * way down, so whatever is in the view hangs below what is. O(capacity of the tree).
 */
export function viewTree(tree: RadixTree, options: ViewOptions): TreeView {
  const sums = sumUp(tree);
  const runs = runsOf(tree, sums.order, options);
  const chosen = chooseRuns(runs, sums, options.maxNumRuns);
  // By the index of a run among all, its index in the view.
  const viewIndices = new Map(chosen.map((run, index) => [run, index]));
  const scopes = new Map<string, number>();
  const shown: TreeRun[] = [];
  for (const index of chosen) {
    const { parent, first, last, numBlocks } = runs[index]!;
    const scope = parent === NONE
      ? numberOf(scopes, tree.scopeOfRoot(rootOf(tree.parents[first]!)))
      : shown[viewIndices.get(parent)!]!.scope;
    const lastMs = sums.lastMs[first]!;
    shown.push({
      node: last,
      hash: tree.hashOf(last),
      parent: parent === NONE ? NONE : viewIndices.get(parent)!,
      scope,
      numBlocks,
      numBelow: sums.numNodes[first]! - numBlocks,
      numHits: sums.numHits[first]!,
      idleSeconds: lastMs === NONE
        ? NONE
        : Math.max(0, Math.round((options.nowMs - lastMs) / 1000)),
      numHolders: options.holders[first]!,
      isPinned: options.pinned[first] === 1,
    });
  }
  return {
    runs: shown,
    scopes: [...scopes.keys()],
    numRuns: runs.length,
    numBlocks: tree.numNodes,
  };
}

/** The tokens of a path from the first on; undefined where there is no such path any more. */
export function tokensAlong(tree: RadixTree, { node, hash, scope }: PathName) {
  const isThere = node >= 0 && node < tree.capacity && tree.has(node);
  if (!isThere || tree.hashOf(node) !== hash) return undefined;
  const path: NodeId[] = [];
  for (let at = node; at >= 0; at = tree.parents[at]!) path.push(at);
  if (tree.scopeOfRoot(rootOf(tree.parents[path.at(-1)!]!)) !== scope) return undefined;
  const tokens = new Uint32Array(path.length * tree.blockSize);
  path.reverse().forEach((at, i) => tokens.set(tree.tokensOf(at), i * tree.blockSize));
  return tokens;
}

function sumUp(tree: RadixTree): Sums {
  const { parents, usage } = tree;
  const numNodes = new Uint32Array(parents.length);
  const numHits = new Uint32Array(parents.length);
  const lastMs = new Float64Array(parents.length).fill(NONE);
  for (const [node, use] of usage.all) {
    numHits[node] = use.numHits;
    lastMs[node] = use.lastMs;
  }
  const order = preorder(tree);
  for (let i = order.length - 1; i >= 0; i--) {
    const node = order[i]!;
    numNodes[node]!++;
    const parent = parents[node]!;
    if (parent < 0) continue;
    numNodes[parent]! += numNodes[node]!;
    numHits[parent]! += numHits[node]!;
    if (lastMs[node]! > lastMs[parent]!) lastMs[parent] = lastMs[node]!;
  }
  return { order, numNodes, numHits, lastMs };
}

/** All nodes, each before those below it, and these before its siblings. */
function preorder({ parents, numNodes }: RadixTree): Int32Array {
  const first = new Int32Array(parents.length).fill(NONE);
  const next = new Int32Array(parents.length).fill(NONE);
  const open: NodeId[] = [];
  for (let node = parents.length - 1; node >= 0; node--) {
    const parent = parents[node]!;
    if (parent >= 0) {
      next[node] = first[parent]!;
      first[parent] = node;
    } else if (parent !== ABSENT) open.push(node);
  }
  const order = new Int32Array(numNodes);
  for (let i = 0; open.length > 0; i++) {
    const node = open.pop()!;
    order[i] = node;
    for (let child = first[node]!; child !== NONE; child = next[child]!) open.push(child);
  }
  return order;
}

function runsOf(
  { parents, childCounts }: RadixTree,
  order: Int32Array,
  { holders, pinned }: ViewOptions,
): OpenRun[] {
  const runs: OpenRun[] = [];
  const runOf = new Int32Array(parents.length);
  for (const node of order) {
    const above = parents[node]!;
    const goesOn = above >= 0 && childCounts[above] === 1 &&
      holders[above] === holders[node] && pinned[above] === pinned[node];
    if (goesOn) {
      const run = runs[runOf[above]!]!;
      run.last = node;
      run.numBlocks++;
      runOf[node] = runOf[above]!;
    } else {
      runOf[node] = runs.length;
      const parent = above >= 0 ? runOf[above]! : NONE;
      runs.push({ parent, first: node, last: node, numBlocks: 1 });
    }
  }
  return runs;
}

/** The indices of the `count` runs of the greatest weight, ascending. */
function chooseRuns(
  runs: readonly OpenRun[],
  { numNodes, numHits }: Sums,
  count: number,
): number[] {
  if (runs.length <= count) return [...runs.keys()];
  const weights = Float64Array.from(runs, ({ first }) => numNodes[first]! * (1 + numHits[first]!));
  const least = weights.toSorted()[runs.length - count]!;
  let numLeft = count - weights.reduce((sum, weight) => sum + Number(weight > least), 0);
  const chosen: number[] = [];
  weights.forEach((weight, at) => {
    if (weight < least || (weight === least && numLeft-- <= 0)) return;
    chosen.push(at);
  });
  return chosen;
}

function numberOf(numbers: Map<string, number>, name: string): number {
  const known = numbers.get(name);
  if (known !== undefined) return known;
  numbers.set(name, numbers.size);
  return numbers.size - 1;
}
