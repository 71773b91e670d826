import type { FromEngine } from "../../src/engine/messages.ts";
import type { RequestId } from "../../src/core/ids.ts";
import type { TokenEvent } from "../../src/core/token_event.ts";

/** Collects what an engine posts, and lets a test wait for it. */
export class Outbox {
  /** But for those that say what a step begins with. */
  readonly messages: FromEngine[] = [];
  /** Those requests, by step. */
  readonly admitted: (readonly RequestId[])[] = [];
  readonly #waiting: { readonly isEnough: () => boolean; readonly resolve: () => void }[] = [];

  readonly post = (message: FromEngine): void => {
    if (message.type === "admitted") this.admitted.push(message.ids);
    else this.messages.push(structuredClone(message));
    for (const waiter of [...this.#waiting]) {
      if (!waiter.isEnough()) continue;
      this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
      waiter.resolve();
    }
  };

  /** Every event so far, in order. */
  get events(): TokenEvent[] {
    return this.messages.flatMap((message) => message.type === "events" ? message.events : []);
  }

  /** The last statistics so far. */
  get stats() {
    return this.messages.findLast((message) => message.type === "events")!.stats;
  }

  /** The types of all messages so far, in order. */
  get types(): string[] {
    return this.messages.map(({ type }) => type);
  }

  /** The tokens of the first sequence of a request so far. */
  tokensOf(id: string): number[] {
    return this.events.flatMap(({ requestId, token }) => requestId === id ? token ?? [] : []);
  }

  /** Resolves once `isEnough` holds; it is asked after each message. */
  until(isEnough: () => boolean): Promise<void> {
    if (isEnough()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ isEnough, resolve }));
  }

  /** Resolves once the first sequence of a request has ended. */
  untilEnd(id: string): Promise<void> {
    return this.until(() =>
      this.events.some(({ requestId, finishReason }) => requestId === id && finishReason)
    );
  }
}
