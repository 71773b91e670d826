interface Node {
  readonly next: Map<number, Node>;
  /** Length of the text that ends here; 0 where none does. */
  length: number;
}

/**
 * Finds a set of texts in longer ones, all at once: a position costs at most as many steps as the
 * longest of them has UTF-16 code units, whatever their number.
 */
export class TextTrie {
  readonly #root: Node = { next: new Map(), length: 0 };

  constructor(texts: Iterable<string>) {
    for (const text of texts) this.#add(text);
  }

  /** UTF-16 code units of the longest text of the set that stands at `at`; 0 for none. */
  longestAt(text: string, at: number): number {
    let longest = 0;
    let node: Node | undefined = this.#root;
    for (let i = at; i < text.length; i++) {
      node = node.next.get(text.charCodeAt(i));
      if (node === undefined) break;
      if (node.length > 0) longest = node.length;
    }
    return longest;
  }

  /** Whether the end of `text`, from `at` on, is the beginning of a longer text of the set. */
  mayGoOnAt(text: string, at: number): boolean {
    let node: Node | undefined = this.#root;
    for (let i = at; i < text.length; i++) {
      node = node.next.get(text.charCodeAt(i));
      if (node === undefined) return false;
    }
    return node.next.size > 0;
  }

  /** `text` in pieces, none empty: texts of the set, leftmost and longest first, and the rest. */
  split(text: string): string[] {
    const pieces: string[] = [];
    let start = 0;
    for (let i = 0; i < text.length;) {
      const length = this.longestAt(text, i);
      if (length === 0) {
        i++;
        continue;
      }
      if (i > start) pieces.push(text.slice(start, i));
      pieces.push(text.slice(i, i + length));
      i += length;
      start = i;
    }
    if (start < text.length) pieces.push(text.slice(start));
    return pieces;
  }

  #add(text: string): void {
    let node = this.#root;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      let next = node.next.get(code);
      if (next === undefined) node.next.set(code, next = { next: new Map(), length: 0 });
      node = next;
    }
    node.length = text.length;
  }
}
