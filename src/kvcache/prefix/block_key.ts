import { hash } from "node:crypto";
import { InvariantError } from "../../base/invariant.ts";
import type { BlockRemap } from "../pool/block_remap.ts";

/** Names one cached block by everything its KV depends on: 128 bits as 32 hexadecimal digits. */
export type BlockKey = string;

/** What all keys of one deployment have in common. */
export interface KeySpace {
  /** The deployment keeps it: without it no reader can tell which prompts a key stands for. */
  readonly secret: Uint8Array;
  /** Tells one set of weights from another. */
  readonly modelFingerprint: string;
  /** How the bytes of a block are laid out: element type, block size, order. */
  readonly layout: string;
}

/** Raised whenever the meaning of a key changes, so that keys of different versions never meet. */
const FORMAT_VERSION = 1;
const SECRET_BYTES = 32;
const KEY_BYTES = 16;
/** Roots remembered at once. */
const MAX_ROOTS = 64;

/** What a field of a preimage is; no two kinds of field can be taken for each other. */
const TAG = { version: 1, model: 2, layout: 3, scope: 4, parent: 5, tokens: 6, extra: 7 } as const;

/**
 * Makes the keys of cached blocks.
 *
 *     root  = H(secret, version, model fingerprint, layout, scope)
 *     block = H(secret, parent's key, tokens, extras)
 *
 * So a key says which model, which layout, whose scope and which tokens from the first on. Every
 * field is written as a tag, a length and its bytes, so that ("bc", "a") is not ("c", "ab"). H is
 * SHA-256 cut to 128 bits; the cut also keeps a key from being extended without the secret. About
 * 1 us per block of 16 tokens: one native call; the keyed BLAKE2s and BLAKE3 of @noble/hashes took
 * 4 to 5 us.
 */
export class BlockKeyer {
  readonly #space: KeySpace;
  /** The secret, then the fields of one key; reused and grown as needed. */
  #preimage: Uint8Array;
  #view: DataView;
  #length = 0;
  /** Roots that were asked for of late, by scope: one is asked for with every event. */
  readonly #roots = new Map<string, BlockKey>();

  constructor(space: KeySpace) {
    this.#space = space;
    this.#preimage = new Uint8Array(256);
    this.#view = new DataView(this.#preimage.buffer);
  }

  /** The parent of the first blocks of `scope`. */
  rootKey(scope: string): BlockKey {
    const known = this.#roots.get(scope);
    if (known !== undefined) return known;
    this.#begin();
    this.#writeField(TAG.version, Uint8Array.of(FORMAT_VERSION));
    this.#writeText(TAG.model, this.#space.modelFingerprint);
    this.#writeText(TAG.layout, this.#space.layout);
    this.#writeText(TAG.scope, scope);
    const key = this.#digest();
    if (this.#roots.size === MAX_ROOTS) this.#roots.clear();
    this.#roots.set(scope, key);
    return key;
  }

  /**
   * The key of the block that holds `tokens` after the block (or root) with the key `parent`.
   *
   * @param extras what else the KV of these positions depends on, such as the digest of an image;
   * in a fixed order.
   */
  childKey(parent: BlockKey, tokens: Uint32Array, extras: readonly string[] = []): BlockKey {
    this.#begin();
    this.#writeParent(parent);
    // Little-endian, as every platform is that this program runs on.
    const { buffer, byteOffset, byteLength } = tokens;
    this.#writeField(TAG.tokens, new Uint8Array(buffer, byteOffset, byteLength));
    for (const extra of extras) this.#writeText(TAG.extra, extra);
    return this.#digest();
  }

  /** Leaves the secret alone in the preimage, hashed at the first key: many caches make none. */
  #begin(): void {
    if (this.#length === 0) {
      // Of any length, and never shorter than a full digest.
      this.#preimage.set(Uint8Array.fromHex(hash("sha256", this.#space.secret, "hex")));
    }
    this.#length = SECRET_BYTES;
  }

  #digest(): BlockKey {
    return hash("sha256", this.#preimage.subarray(0, this.#length), "hex").slice(0, 2 * KEY_BYTES);
  }

  /** Its digits as they are: cheaper than to make bytes of them. */
  #writeParent(parent: BlockKey): void {
    if (parent.length !== 2 * KEY_BYTES) {
      throw new InvariantError(`a block key of ${parent.length} digits`);
    }
    const start = this.#startField(TAG.parent, parent.length);
    for (let i = 0; i < parent.length; i++) this.#preimage[start + i] = parent.charCodeAt(i);
  }

  #writeText(tag: number, text: string): void {
    this.#writeField(tag, new TextEncoder().encode(text));
  }

  #writeField(tag: number, bytes: Uint8Array): void {
    const start = this.#startField(tag, bytes.length);
    this.#preimage.set(bytes, start);
  }

  /** Writes tag and length of a field; returns where its bytes go. */
  #startField(tag: number, length: number): number {
    const start = this.#length + 5;
    if (start + length > this.#preimage.length) this.#grow(start + length);
    this.#preimage[this.#length] = tag;
    this.#view.setUint32(this.#length + 1, length, true);
    this.#length = start + length;
    return start;
  }

  #grow(numBytes: number): void {
    const larger = new Uint8Array(2 * numBytes);
    larger.set(this.#preimage);
    this.#preimage = larger;
    this.#view = new DataView(larger.buffer);
  }
}

/**
 * Keys of blocks as columns, 17 bytes per block instead of a string each; a block has a key or
 * none. Nothing is stored before the first key.
 */
export class BlockKeyColumn {
  #numBlocks: number;
  #bytes = new Uint8Array();
  #isSet = new Uint8Array();
  /** The block whose key was set last, and that key: it is asked for again with the block below. */
  #latest: { readonly id: number; readonly key: BlockKey } | undefined;

  constructor(numBlocks: number) {
    this.#numBlocks = numBlocks;
  }

  /** The key of block `id`; undefined when it has none. */
  get(id: number): BlockKey | undefined {
    if (this.#isSet[id] !== 1) return undefined;
    return this.#latest?.id === id ? this.#latest.key : this.#bytesOf(id).toHex();
  }

  /** Gives block `id` a key. */
  set(id: number, key: BlockKey): void {
    if (this.#isSet.length === 0) this.#allocate();
    this.#bytesOf(id).setFromHex(key);
    this.#isSet[id] = 1;
    this.#latest = { id, key };
  }

  /** Takes the key of block `id` away. */
  delete(id: number): void {
    this.#isSet[id] = 0;
  }

  /** Follows blocks to their new ids. O(pool). */
  remap(remap: BlockRemap): void {
    this.#numBlocks = remap.numBlocks;
    if (this.#isSet.length === 0) return;
    this.#bytes = remap.column(this.#bytes, { width: KEY_BYTES });
    this.#isSet = remap.column(this.#isSet);
    this.#latest = undefined;
  }

  #allocate(): void {
    this.#bytes = new Uint8Array(KEY_BYTES * this.#numBlocks);
    this.#isSet = new Uint8Array(this.#numBlocks);
  }

  #bytesOf(id: number): Uint8Array {
    return this.#bytes.subarray(KEY_BYTES * id, KEY_BYTES * (id + 1));
  }
}
