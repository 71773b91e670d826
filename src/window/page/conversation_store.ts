/// <reference lib="dom" />
import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import type { Conversation } from "./conversation.ts";

/** Most conversations that are kept; the ones untouched longest go first. */
export const MAX_CONVERSATIONS = 500;
/** Milliseconds within which a change is written. */
const WRITE_MS = 250;
/** Where tabs tell each other what they have written. */
const CHANNEL = "quire.conversations";

/** What a store tells. */
export interface StoreEvents {
  /** Another tab has written a conversation, or has removed it. */
  onChange(id: string, conversation: Conversation | undefined): void;
  /** Whether the last write has failed: the browser has no room, or keeps nothing. */
  onProblem(isFailing: boolean): void;
}

interface Schema extends DBSchema {
  conversations: { key: string; value: Conversation };
}

/** The conversations in this browser's IndexedDB. Where there is none, nothing outlives the tab. */
export class ConversationStore {
  readonly #database: Promise<IDBPDatabase<Schema> | undefined>;
  readonly #dirty = new Map<string, Conversation>();
  readonly #channel = new BroadcastChannel(CHANNEL);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #events: StoreEvents | undefined;

  constructor() {
    this.#database = openDB<Schema>("quire", 1, {
      upgrade: (database) => void database.createObjectStore("conversations", { keyPath: "id" }),
    }).catch(() => undefined);
    addEventListener("pagehide", () => this.flush());
    document.addEventListener("visibilitychange", () => this.flush());
    this.#channel.addEventListener("message", async ({ data: id }) => {
      this.#events?.onChange(id, await (await this.#database)?.get("conversations", id));
    });
  }

  /** Tells `events` from now on. */
  listen(events: StoreEvents): void {
    this.#events = events;
  }

  /** What is kept, the latest first; drops what is beyond the bound. */
  async all(): Promise<Conversation[]> {
    const kept = await (await this.#database)?.getAll("conversations") ?? [];
    kept.sort((a, b) => b.updated - a.updated);
    for (const { id } of kept.slice(MAX_CONVERSATIONS)) this.remove(id);
    return kept.slice(0, MAX_CONVERSATIONS);
  }

  /** Writes a conversation soon, and its latest form only. */
  save(conversation: Conversation): void {
    this.#dirty.set(conversation.id, conversation);
    this.#timer ??= setTimeout(() => this.flush(), WRITE_MS);
  }

  async remove(id: string): Promise<void> {
    this.#dirty.delete(id);
    await (await this.#database)?.delete("conversations", id);
    this.#channel.postMessage(id);
  }

  /** Writes what has changed. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const changed = [...this.#dirty.values()];
    this.#dirty.clear();
    if (changed.length === 0) return;
    try {
      const database = await this.#database;
      if (database === undefined) throw new Error("There is no store");
      await Promise.all(changed.map((conversation) => database.put("conversations", conversation)));
      this.#events?.onProblem(false);
    } catch {
      this.#events?.onProblem(true);
    }
    for (const { id } of changed) this.#channel.postMessage(id);
  }
}
