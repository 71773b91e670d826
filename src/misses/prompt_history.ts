import { anchorsOf, anchorsToKeep, bytesOf, type PromptRecord } from "./prompt_record.ts";

/** Records looked at of one anchor, and of one owner, the latest. */
const MAX_PER_KEY = 8;

interface KeptRecord {
  readonly record: PromptRecord;
  /** Those under which it is found. */
  readonly anchors: readonly string[];
  bytes: number;
}

/**
 * The latest prompts, within a budget of bytes: one that goes on from another takes its place, and
 * those that were added or went on longest ago are forgotten first.
 *
 * Every operation is O(1); of records that share an anchor the latest 8 are found.
 */
export class PromptHistory {
  readonly #maxBytes: number;
  /** In the order in which they were added. */
  readonly #records = new Map<number, KeptRecord>();
  /** Ids of the latest records by anchor, the latest last. */
  readonly #byAnchor = new Map<string, number[]>();
  readonly #byOwner = new Map<string | undefined, number[]>();
  #numBytes = 0;
  #nextId = 0;

  /** @param maxBytes a record that is larger by itself is not kept. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that are kept, about. */
  get numBytes(): number {
    return this.#numBytes;
  }

  get size(): number {
    return this.#records.size;
  }

  /**
   * Keeps a prompt, in place of `replaced`, whose tokens it begins with.
   *
   * @param anchors all of its anchors, where they are known.
   */
  add(
    fields: Omit<PromptRecord, "id">,
    replaced?: PromptRecord,
    anchors: readonly string[] = anchorsOf(fields),
  ): PromptRecord {
    if (replaced !== undefined) this.#remove(replaced.id);
    const record = { ...fields, id: this.#nextId++ };
    const bytes = bytesOf(record);
    this.#numBytes += bytes;
    const kept = anchorsToKeep(anchors);
    this.#records.set(record.id, { record, anchors: kept, bytes });
    for (const anchor of kept) push(this.#byAnchor, anchor, record.id);
    push(this.#byOwner, record.owner, record.id);
    this.#forgetOldest();
    return record;
  }

  /** An answer to a prompt is complete. Nothing happens where the prompt is no longer kept. */
  addAnswer(record: PromptRecord, answer: Uint32Array, maxAnswers: number): void {
    const kept = this.#records.get(record.id);
    if (kept === undefined) return;
    record.answers = [...record.answers, answer].slice(-maxAnswers);
    const bytes = bytesOf(record);
    this.#numBytes += bytes - kept.bytes;
    kept.bytes = bytes;
    this.#forgetOldest();
  }

  /** Adds the latest prompts of that anchor to a set, the latest first. */
  addAnchored(anchor: string, found: Set<PromptRecord>): void {
    const ids = this.#byAnchor.get(anchor);
    if (ids === undefined) return;
    for (let i = ids.length - 1; i >= 0; i--) found.add(this.#records.get(ids[i]!)!.record);
  }

  /** The latest prompts of an owner, the latest first. */
  latestOf(owner: string | undefined): PromptRecord[] {
    const ids = this.#byOwner.get(owner) ?? [];
    return ids.map((id) => this.#records.get(id)!.record).reverse();
  }

  #forgetOldest(): void {
    while (this.#numBytes > this.#maxBytes) this.#remove(this.#records.keys().next().value!);
  }

  #remove(id: number): void {
    const kept = this.#records.get(id);
    if (kept === undefined) return;
    this.#records.delete(id);
    this.#numBytes -= kept.bytes;
    for (const anchor of kept.anchors) drop(this.#byAnchor, anchor, id);
    drop(this.#byOwner, kept.record.owner, id);
  }
}

function push<K>(index: Map<K, number[]>, key: K, id: number): void {
  const ids = index.get(key);
  if (ids === undefined) index.set(key, [id]);
  else {
    ids.push(id);
    if (ids.length > MAX_PER_KEY) ids.shift();
  }
}

function drop<K>(index: Map<K, number[]>, key: K, id: number): void {
  const ids = index.get(key);
  const at = ids?.indexOf(id) ?? -1;
  if (at === -1) return;
  if (ids!.length === 1) index.delete(key);
  else ids!.splice(at, 1);
}
