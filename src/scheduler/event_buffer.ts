import type { TokenEvent } from "../core/token_event.ts";
import type { Sequence } from "./sequence.ts";

/** What there is to say of a sequence, apart from which one it is. */
export type Report = Omit<TokenEvent, "requestId" | "index" | "numCachedTokens">;

/** The events since they were last taken, in order. */
export class EventBuffer {
  #events: TokenEvent[] = [];

  /** Adds an event of `sequence`; its first one also says how much of the prompt was cached. */
  add(sequence: Sequence, report: Report): void {
    const { requestId, index, numCachedTokens } = sequence;
    this.#events.push({
      requestId,
      index,
      ...report,
      ...(sequence.hasReported ? {} : { numCachedTokens }),
    });
    sequence.hasReported = true;
  }

  /** Returns the events and forgets them. */
  take(): TokenEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }
}
