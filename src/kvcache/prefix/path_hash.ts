/**
 * Hashes of paths in the radix tree: 32 bits of a scope and all tokens from the first on.
 *
 *     root = hash(seed, scope)      child = hash(its parent's hash, its tokens)
 *
 * The seed makes it hard to send prompts whose hashes are all alike; it decides no order.
 */
export class PathHasher {
  readonly #blockSize: number;
  readonly #seed = crypto.getRandomValues(new Int32Array(1))[0]!;

  constructor(blockSize: number) {
    this.#blockSize = blockSize;
  }

  /** The hash of the root of `scope`. */
  root(scope: string): number {
    let hash = this.#seed;
    for (let i = 0; i < scope.length; i++) hash = mix(hash, scope.charCodeAt(i));
    return hash;
  }

  /** The hash of the path that goes on from one of hash `above` by the block at `tokens[start]`. */
  child(above: number, tokens: Uint32Array, start: number): number {
    let hash = above;
    for (let i = start; i < start + this.#blockSize; i++) hash = mix(hash, tokens[i]!);
    return hash;
  }
}

function mix(hash: number, value: number): number {
  const mixed = Math.imul(hash ^ value, 0x85ebca6b);
  return mixed ^ (mixed >>> 13);
}
