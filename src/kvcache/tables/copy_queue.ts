import type { BlockId } from "../../core/ids.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { BlockSource } from "../pool/pool.ts";

/** A block of a group to be copied whole into another. */
export interface WholeCopy {
  readonly group: number;
  readonly from: BlockId;
  readonly to: BlockId;
}

/**
 * The copies that the next step carries out, and those of the step in flight: one reference to what
 * each reads, and to what it alone writes, so that neither is given away meanwhile.
 */
export class CopyQueue {
  readonly #blockSource: BlockSource;
  #held: (readonly BlockId[])[] = [];
  /** Snapshots that no step has taken yet. */
  #snapshots: WholeCopy[] = [];
  /** By block that a copy of a state writes, the block that it reads, until it is done. */
  readonly #sources = new Map<BlockId, BlockId>();

  /** Nothing held; references are taken from `blockSource`. */
  constructor(blockSource: BlockSource) {
    this.#blockSource = blockSource;
  }

  /** Holds what a copy reads, the last of `ids`, and blocks before it. */
  hold(ids: readonly BlockId[]): void {
    this.#blockSource.retain(ids);
    this.#held.push(ids);
  }

  /** Notes that the next step copies a state from one block to another before it computes. */
  noteSource(to: BlockId, from: BlockId): void {
    this.#sources.set(to, from);
  }

  /** The state in block `to` is not needed any more. */
  forgetSource(to: BlockId): void {
    this.#sources.delete(to);
  }

  /** Asks for a snapshot; the one reference to `to` is the copy's from now on. */
  addSnapshot(copy: WholeCopy): void {
    this.#blockSource.retain([copy.from]);
    this.#snapshots.push(copy);
    this.#sources.set(copy.to, copy.from);
  }

  /** The block that has the state of block `id` now: itself, or what a copy into it reads. */
  sourceOf(id: BlockId): BlockId {
    return this.#sources.get(id) ?? id;
  }

  /**
   * Takes back the snapshots that no step has taken, of block `from` or all; the references to what
   * they read are let go, those to what they write are the caller's.
   */
  cancel(from?: BlockId): readonly WholeCopy[] {
    const isMeant = (copy: WholeCopy) => from === undefined || copy.from === from;
    const cancelled = this.#snapshots.filter(isMeant);
    if (cancelled.length === 0) return cancelled;
    this.#snapshots = this.#snapshots.filter((copy) => !isMeant(copy));
    for (const copy of cancelled) {
      this.#sources.delete(copy.to);
      this.#blockSource.release([copy.from]);
    }
    return cancelled;
  }

  /** Hands the snapshots out to the next step. */
  drain(): readonly WholeCopy[] {
    const taken = this.#snapshots;
    for (const { from, to } of taken) this.#held.push([from], [to]);
    this.#snapshots = [];
    return taken;
  }

  /** The copies of the step have been carried out: lets go of what they held. */
  release(): void {
    for (const ids of this.#held) this.#blockSource.release(ids);
    this.#held = [];
    const waiting = new Set(this.#snapshots.map(({ to }) => to));
    for (const to of this.#sources.keys()) if (!waiting.has(to)) this.#sources.delete(to);
  }

  /** Follows blocks to their new ids. */
  remap(remap: BlockRemap): void {
    this.#held = this.#held.map((ids) => remap.idsOf(ids));
    this.#snapshots = this.#snapshots.map(({ group, from, to }) => ({
      group,
      from: remap.idOf(from),
      to: remap.idOf(to),
    }));
    const sources = [...this.#sources];
    this.#sources.clear();
    for (const [to, from] of sources) this.#sources.set(remap.idOf(to), remap.idOf(from));
  }

  /** Adds the references held to `counts`, one entry per block; for audits. */
  countReferences(counts: number[]): void {
    for (const ids of this.#held) for (const id of ids) counts[id]!++;
    for (const { from, to } of this.#snapshots) {
      counts[from]!++;
      counts[to]!++;
    }
  }
}
