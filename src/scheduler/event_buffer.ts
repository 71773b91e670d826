import type { TokenEvent } from "../core/token_event.ts";
import type { Answer } from "./sequence.ts";

/** An event of an answer, without its identity. */
export type Report = Omit<TokenEvent, "requestId" | "index" | "numCachedTokens" | "evicted">;

/** The events since they were last taken, in order. */
export class EventBuffer {
  #events: TokenEvent[] = [];

  /** Adds an event of `answer`; its first one also says how much of the prompt was cached. */
  add(answer: Answer, report: Report): void {
    const { requestId, index, numCachedTokens, hasReported } = answer;
    answer.hasReported = true;
    const { token, logprob, topLogprobs, finishReason, error, prompt } = report;
    const isPlain = (logprob ?? topLogprobs ?? finishReason ?? error ?? prompt) === undefined;
    if (!hasReported) {
      const { evicted } = answer;
      const first = { requestId, index, ...report, numCachedTokens };
      this.#events.push(evicted === undefined ? first : { ...first, evicted });
      return;
    }
    // Nearly all of a step's events are plain; a spread would take several times as long.
    if (isPlain && token !== undefined) this.#events.push({ requestId, index, token });
    else this.#events.push({ requestId, index, ...report });
  }

  /** Returns the events and forgets them. */
  drain(): TokenEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }
}
