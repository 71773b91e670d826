import { anchorsToKeep, bytesOf, type PromptRecord } from "./prompt_record.ts";

/** Records looked at of one name, and of one owner, the latest. */
const MAX_PER_NAME = 8;

/**
 * The latest prompts, within a budget of bytes: one that goes on from another takes its place, and
 * those that were added or went on longest ago are forgotten first.
 *
 * Every operation is O(1), but for names that many records share, of which the latest 8 are found.
 */
export class PromptHistory {
  readonly #maxBytes: number;
  /** In the order in which they were added. */
  readonly #records = new Map<number, { record: PromptRecord; bytes: number }>();
  /** Ids of the latest records by name, the latest last. */
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

  /** Keeps a prompt, in place of `replaced`, whose tokens it begins with. */
  add(fields: Omit<PromptRecord, "id">, replaced?: PromptRecord): PromptRecord {
    if (replaced !== undefined) this.#remove(replaced.id);
    const record = { ...fields, id: this.#nextId++ };
    const bytes = bytesOf(record);
    this.#numBytes += bytes;
    this.#records.set(record.id, { record, bytes });
    for (const anchor of anchorsToKeep(record)) push(this.#byAnchor, anchor, record.id);
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

  /** The latest prompts of that name, the latest first. */
  named(anchor: string): PromptRecord[] {
    return this.#recordsOf(this.#byAnchor.get(anchor));
  }

  /** The latest prompts of an owner, the latest first. */
  latestOf(owner: string | undefined): PromptRecord[] {
    return this.#recordsOf(this.#byOwner.get(owner));
  }

  #recordsOf(ids: readonly number[] = []): PromptRecord[] {
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
    for (const anchor of anchorsToKeep(kept.record)) drop(this.#byAnchor, anchor, id);
    drop(this.#byOwner, kept.record.owner, id);
  }
}

function push<K>(index: Map<K, number[]>, key: K, id: number): void {
  const ids = index.get(key);
  if (ids === undefined) index.set(key, [id]);
  else {
    ids.push(id);
    if (ids.length > MAX_PER_NAME) ids.shift();
  }
}

function drop<K>(index: Map<K, number[]>, key: K, id: number): void {
  const ids = index.get(key);
  const at = ids?.indexOf(id) ?? -1;
  if (at === -1) return;
  if (ids!.length === 1) index.delete(key);
  else ids!.splice(at, 1);
}
