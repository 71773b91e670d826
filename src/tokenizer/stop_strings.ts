import { invariant } from "../base/invariant.ts";

/** A state of the automaton: a prefix of some stop string that the text so far ends with. */
interface Node {
  /** Length of the prefix, UTF-16 code units. */
  readonly depth: number;
  readonly next: Map<number, Node>;
  /** The longest proper suffix of this prefix that is itself a prefix; the root's is itself. */
  fail: Node;
  /** Longest stop string that the text ends with in this state. */
  stop: string | undefined;
}

/** Text that can be shown, and the stop string that ended it. */
export interface StopStringsResult {
  readonly text: string;
  readonly matched?: string;
}

/**
 * Watches a growing text for stop strings and holds back what might become one.
 *
 * The text is cut before the stop string that is complete first; of two complete at once, before
 * the longer. Neither depends on how the text is split. Aho and Corasick 1975 ("Efficient string
 * matching"): the state's depth is the longest suffix that could still begin a stop string, which
 * is exactly what is held back. O(1) amortised per character, whatever the number of stop strings.
 */
export class StopStrings {
  readonly #root: Node;
  #state: Node;
  /** The last `#state.depth` characters of the text. */
  #held = "";
  #matched: string | undefined;

  /** @param stops none of them empty; with none at all, everything passes through. */
  constructor(stops: readonly string[]) {
    this.#root = buildAutomaton(stops);
    this.#state = this.#root;
  }

  /**
   * Takes the next piece of text and returns the part that has become safe to show. Once a stop
   * string is matched, every later call returns it again with no text.
   */
  push(text: string): StopStringsResult {
    if (this.#matched !== undefined) return { text: "", matched: this.#matched };
    const whole = this.#held + text;
    for (let i = this.#held.length; i < whole.length; i++) {
      this.#state = this.#advance(whole.charCodeAt(i));
      if (this.#state.stop !== undefined) {
        this.#matched = this.#state.stop;
        this.#held = "";
        return { text: whole.slice(0, i + 1 - this.#matched.length), matched: this.#matched };
      }
    }
    const shown = whole.length - this.#state.depth;
    this.#held = whole.slice(shown);
    return { text: whole.slice(0, shown) };
  }

  /** The text held back, at the end of a text without a stop string. */
  flush(): string {
    const rest = this.#held;
    this.#held = "";
    this.#state = this.#root;
    return rest;
  }

  #advance(unit: number): Node {
    let node = this.#state;
    for (;;) {
      const next = node.next.get(unit);
      if (next !== undefined) return next;
      if (node === this.#root) return node;
      node = node.fail;
    }
  }
}

function buildAutomaton(stops: readonly string[]): Node {
  const root = createNode(0);
  for (const stop of stops) {
    invariant(stop !== "", "a stop string is empty");
    let node = root;
    for (let i = 0; i < stop.length; i++) {
      const unit = stop.charCodeAt(i);
      let next = node.next.get(unit);
      if (next === undefined) node.next.set(unit, next = createNode(i + 1));
      node = next;
    }
    node.stop = stop;
  }
  linkSuffixes(root);
  return root;
}

function createNode(depth: number): Node {
  const node = { depth, next: new Map(), stop: undefined } as Omit<Node, "fail">;
  return Object.assign(node, { fail: node }) as Node;
}

/** Breadth first, so that the shorter prefixes a node falls back to are linked before it. */
function linkSuffixes(root: Node): void {
  const queue: Node[] = [root];
  for (const node of queue) {
    for (const [unit, child] of node.next) {
      child.fail = node === root ? root : suffixFor(node.fail, unit, root);
      // A node's own stop string is longer than any that its suffix ends with.
      child.stop ??= child.fail.stop;
      queue.push(child);
    }
  }
}

function suffixFor(start: Node, unit: number, root: Node): Node {
  for (let node = start;; node = node.fail) {
    const next = node.next.get(unit);
    if (next !== undefined) return next;
    if (node === root) return root;
  }
}
