import type { AnswerPart, Usage } from "./openai_client.ts";

/** Times and counts of one answer, as they are seen from outside of the server. */
export interface AnswerTimes {
  /** From the request to the first text, ms; undefined for an answer without any. */
  readonly firstMs: number | undefined;
  /** Tokens per second behind the first; undefined for answers of one token. */
  readonly tokensPerSecond: number | undefined;
  readonly usage: Usage | undefined;
}

/** Watches one streamed answer. */
export class AnswerMeter {
  readonly #beganMs: number;
  #firstMs: number | undefined;
  #lastMs = 0;
  #numParts = 0;
  #usage: Usage | undefined;

  constructor(beganMs: number) {
    this.#beganMs = beganMs;
  }

  add({ text, thinking, usage, atMs }: AnswerPart): void {
    if (usage !== undefined) this.#usage = usage;
    if (text === "" && thinking === "") return;
    this.#firstMs ??= atMs;
    this.#lastMs = atMs;
    this.#numParts++;
  }

  get times(): AnswerTimes {
    const firstMs = this.#firstMs === undefined ? undefined : this.#firstMs - this.#beganMs;
    // A server that counts nothing still sends about a token per event.
    const numTokens = this.#usage?.completionTokens ?? this.#numParts;
    const ms = this.#lastMs - (this.#firstMs ?? 0);
    const tokensPerSecond = numTokens > 1 && ms > 0 ? (numTokens - 1) / ms * 1000 : undefined;
    return { firstMs, tokensPerSecond, usage: this.#usage };
  }
}

/** One line: tokens, speed, time to the first token, and what the prefix cache gave. */
export function describeTimes({ firstMs, tokensPerSecond, usage }: AnswerTimes): string {
  const cached = usage?.cachedTokens;
  return [
    ...(usage === undefined ? [] : [`${usage.completionTokens} tokens`]),
    ...(tokensPerSecond === undefined ? [] : [`${tokensPerSecond.toFixed(1)} tokens/s`]),
    ...(firstMs === undefined ? [] : [`first after ${(firstMs / 1000).toFixed(2)} s`]),
    ...(usage === undefined ? [] : [
      cached === undefined
        ? `prompt of ${usage.promptTokens}`
        : `prompt of ${usage.promptTokens}, ${cached} cached`,
    ]),
  ].join(", ");
}
