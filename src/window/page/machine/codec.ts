/** What each block of the pool is, as columns. */
export interface BlockPicture {
  /** Bit 0: the prefix cache has it; bit 1: pinned; above them, its group. */
  readonly states: Uint8Array;
  /** Tables, pins and copies that hold it, at most 255. */
  readonly holders: Uint8Array;
  /** The sequence that was admitted first of those that hold it; -1 for none. */
  readonly firstHolders: Int32Array;
}

/** What a block is, in the order of the legend. */
export const KINDS = ["free", "used", "shared", "cached", "pinned"] as const;
export type Kind = (typeof KINDS)[number];

/** A picture of blocks that hold nothing. */
export function emptyPicture(numBlocks: number): BlockPicture {
  return {
    states: new Uint8Array(numBlocks),
    holders: new Uint8Array(numBlocks),
    firstHolders: new Int32Array(numBlocks).fill(-1),
  };
}

/**
 * Carries the changes of a frame out: runs of `skip`, `length`, state, holders and owner + 1, each
 * number in groups of 7 bits with the lowest first.
 */
export function applyChanges(picture: BlockPicture, changes: Uint8Array): void {
  const { states, holders, firstHolders } = picture;
  let at = 0;
  let block = 0;
  const next = () => {
    let value = 0;
    for (let scale = 1;; scale *= 128) {
      const byte = changes[at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < changes.length) {
    block += next();
    const end = block + next();
    states.fill(next(), block, end);
    holders.fill(next(), block, end);
    firstHolders.fill(next() - 1, block, end);
    block = end;
  }
}

/** The bytes that a text of base64 stands for. */
export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** What a block is: of several, the one that matters most. */
export function kindOf({ states, holders }: BlockPicture, block: number): Kind {
  if ((states[block]! & 2) !== 0) return "pinned";
  if (holders[block]! > 1) return "shared";
  if (holders[block] === 1) return "used";
  return (states[block]! & 1) !== 0 ? "cached" : "free";
}

/** The cache group of a block. */
export function groupOf({ states }: BlockPicture, block: number): number {
  return states[block]! >> 2;
}

/** How many blocks there are of each kind. O(blocks). */
export function countKinds(picture: BlockPicture): Readonly<Record<Kind, number>> {
  const counts = { free: 0, used: 0, shared: 0, cached: 0, pinned: 0 };
  for (let block = 0; block < picture.states.length; block++) counts[kindOf(picture, block)]++;
  return counts;
}
