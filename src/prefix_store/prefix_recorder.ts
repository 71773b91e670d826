import { type Clock, systemClock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { NumberedLog } from "../base/numbered_log.ts";
import type { KvEvent } from "../core/kv_event.ts";
import type { HotPrefixes } from "./hot_prefixes.ts";
import type { RecordChanges } from "./prefix_record.ts";

/** Time between two writes: what a crash may lose of the statistics, in ms. */
const WRITE_EVERY_MS = 5_000;
/** Time between two looks for prefixes to forget, in ms. */
const FORGET_EVERY_MS = 3_600_000;

/** The part of a store that a recorder uses. */
export interface RecordWriter {
  write(changes: RecordChanges): Promise<void>;
}

/** Inputs of a recorder. */
export interface PrefixRecorderOptions {
  readonly hotPrefixes: HotPrefixes;
  readonly store: RecordWriter;
  readonly kvEvents: NumberedLog<KvEvent>;
  /**
   * Whether a reheat caused the event of this number, which then counts as no use; asked in rising
   * order.
   */
  readonly isReheat: (seq: number) => boolean;
  readonly log: Logger;
  readonly clock?: Clock;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

/**
 * Feeds the events of the prefix cache to {@link HotPrefixes} as they come, and writes what has
 * changed behind, every few seconds and at the end. A write that fails is tried again with the
 * next.
 */
export class PrefixRecorder {
  readonly #options: Required<PrefixRecorderOptions>;
  readonly #stopped = new AbortController();
  #nextSeq = 0;
  #cancelTimer: () => void = () => {};
  #writing: Promise<void> = Promise.resolve();
  #following: Promise<void> = Promise.resolve();
  #forgotAt = 0;
  /** The last write failed: said once, until one succeeds. */
  #isFailing = false;

  constructor(options: PrefixRecorderOptions) {
    this.#options = { clock: systemClock, now: Date.now, ...options };
  }

  /** Starts with the oldest event that the log still has. Call it once. */
  start(): void {
    this.#forgotAt = this.#options.now();
    this.#following = this.#follow();
    this.#schedule();
  }

  /** Takes in what has come, writes it and stops. */
  async stop(): Promise<void> {
    this.#cancelTimer();
    this.#stopped.abort();
    await this.#following;
    for (const { seq, item } of this.#options.kvEvents.from(this.#nextSeq)) this.#fold(seq, item);
    await this.#writing;
    await this.#write();
  }

  async #follow(): Promise<void> {
    const events = this.#options.kvEvents.follow(this.#nextSeq, this.#stopped.signal);
    for await (const { seq, item } of events) this.#fold(seq, item);
  }

  #fold(seq: number, event: KvEvent): void {
    const { hotPrefixes, isReheat, now } = this.#options;
    hotPrefixes.fold(event, now(), isReheat(seq));
    this.#nextSeq = seq + 1;
  }

  #schedule(): void {
    this.#cancelTimer = this.#options.clock.after(WRITE_EVERY_MS, () => {
      const { hotPrefixes, now } = this.#options;
      if (now() - this.#forgotAt >= FORGET_EVERY_MS) {
        this.#forgotAt = now();
        hotPrefixes.forget(now());
      }
      this.#writing = this.#write().then(() => {
        if (!this.#stopped.signal.aborted) this.#schedule();
      });
    });
  }

  async #write(): Promise<void> {
    const { hotPrefixes, store, log } = this.#options;
    const changes = hotPrefixes.takeChanges();
    if (changes.put.length + changes.remove.length === 0) return;
    try {
      await store.write(changes);
      this.#isFailing = false;
    } catch (error) {
      hotPrefixes.returnChanges(changes);
      if (!this.#isFailing) {
        log.warn("prefix store cannot be written, tries go on", { reason: String(error) });
      }
      this.#isFailing = true;
    }
  }
}
