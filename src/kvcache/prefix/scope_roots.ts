/** What stands above the first nodes of one scope. */
interface Root {
  readonly id: number;
  readonly scope: string;
  numChildren: number;
}

/**
 * The roots of a radix tree: one per scope that has nodes in it, numbered from 0.
 *
 * A root is opened for its first child and gone with its last, so that scopes which are used once
 * leave nothing behind. Every operation is O(1).
 */
export class ScopeRoots {
  readonly #byScope = new Map<string, Root>();
  readonly #byId: (Root | undefined)[] = [];
  readonly #freeIds: number[] = [];

  /** Scopes with a root. */
  get numScopes(): number {
    return this.#byScope.size;
  }

  /** Children of all roots together. O(scopes). */
  get numChildren(): number {
    return [...this.#byScope.values()].reduce((sum, root) => sum + root.numChildren, 0);
  }

  /** The root of `scope`; undefined when it has no nodes. */
  find(scope: string): number | undefined {
    return this.#byScope.get(scope)?.id;
  }

  /** The scope of root `id`. */
  scopeOf(id: number): string {
    return this.#byId[id]!.scope;
  }

  /** Counts one child more below the root of `scope`, and returns that root. */
  addChild(scope: string): number {
    let root = this.#byScope.get(scope);
    if (root === undefined) {
      root = { id: this.#freeIds.pop() ?? this.#byId.length, scope, numChildren: 0 };
      this.#byScope.set(scope, root);
      this.#byId[root.id] = root;
    }
    root.numChildren++;
    return root.id;
  }

  /** Counts one child less below root `id`. */
  dropChild(id: number): void {
    const root = this.#byId[id]!;
    if (--root.numChildren > 0) return;
    this.#byScope.delete(root.scope);
    this.#byId[id] = undefined;
    this.#freeIds.push(id);
  }
}
