/// <reference lib="dom" />
import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import type { Conversation } from "./conversation.ts";

/** Most conversations that are kept; the ones untouched longest go first. */
export const MAX_CONVERSATIONS = 500;
/** Milliseconds within which a change is written. */
const WRITE_MS = 250;

interface Schema extends DBSchema {
  conversations: { key: string; value: Conversation };
}

/** The conversations in this browser's IndexedDB. Where there is none, nothing outlives the tab. */
export class ConversationStore {
  readonly #database: Promise<IDBPDatabase<Schema> | undefined>;
  readonly #dirty = new Map<string, Conversation>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    this.#database = openDB<Schema>("quire", 1, {
      upgrade: (database) => void database.createObjectStore("conversations", { keyPath: "id" }),
    }).catch(() => undefined);
    addEventListener("pagehide", () => this.flush());
    document.addEventListener("visibilitychange", () => this.flush());
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
  }

  /** Writes what has changed. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const changed = [...this.#dirty.values()];
    this.#dirty.clear();
    const database = await this.#database;
    await Promise.all(changed.map((conversation) => database?.put("conversations", conversation)));
  }
}
