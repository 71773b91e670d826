import { STATUS_CODE } from "@std/http";
import { RequestError } from "../../core/errors.ts";
import type { KeyMeter, KeyRules } from "./key_rules.ts";

const MINUTE_MS = 60_000;

/** One request of a key, from its entry to its last token. */
export interface KeyUse {
  /** The engine has taken the request. */
  accept(): void;
  /** So many further tokens were generated. */
  charge(numTokens: number): void;
  /** The request has ended. Idempotent. */
  end(): void;
  /** The engine has refused the request: nothing is charged for it. */
  cancel(): void;
}

/** How far a key's limits are used up, in the names of OpenAI's headers. */
export type RateLimitHeaders = Readonly<Record<string, string>>;

/**
 * What the holders of one key use, and may use: requests at once, and tokens per minute.
 *
 * Tokens come out of a bucket that holds a minute's and fills up steadily. A request is let in
 * while there is any token in it; its prompt is taken out at once and what it generates as it
 * comes, also below zero, so that a long answer is not cut off, and is waited for by the requests
 * behind it.
 */
export class KeyAccount {
  readonly rules: KeyRules;
  readonly #now: () => number;
  readonly #meter: KeyMeter | undefined;
  #numRequests = 0;
  #numTokensLeft: number;
  #filledMs: number;

  /** `now` is a monotonic time in ms. */
  constructor(rules: KeyRules, now: () => number, meter?: KeyMeter) {
    this.rules = rules;
    this.#meter = meter;
    this.#now = now;
    this.#numTokensLeft = rules.tokensPerMinute ?? 0;
    this.#filledMs = now();
  }

  /**
   * Begins a request with so many tokens of prompts.
   *
   * @throws {RequestError} 429 `rate_limit_exceeded` with the key's name and the limit.
   */
  begin(numPromptTokens: number): KeyUse {
    this.#fill();
    const { name, maxRequests, tokensPerMinute } = this.rules;
    if (maxRequests !== undefined && this.#numRequests >= maxRequests) {
      this.#meter?.observeKeyRefusal(name, "requests");
      throw limited(
        `The key ${name} has ${this.#numRequests} requests in flight, its limit`,
        { limit: maxRequests, retry_after_seconds: 1 },
      );
    }
    if (tokensPerMinute !== undefined && this.#numTokensLeft <= 0) {
      this.#meter?.observeKeyRefusal(name, "tokens");
      const seconds = Math.max(1, Math.ceil(this.#msUntil(1) / 1000));
      throw limited(
        `The key ${name} has used its ${tokensPerMinute} tokens per minute: try again in ${seconds} s`,
        { limit: tokensPerMinute, retry_after_seconds: seconds },
      );
    }
    return this.#use(numPromptTokens);
  }

  /** The headers of an answer that tell how much is left. */
  headers(): RateLimitHeaders {
    this.#fill();
    const { maxRequests, tokensPerMinute } = this.rules;
    return {
      ...(maxRequests === undefined ? {} : {
        "x-ratelimit-limit-requests": String(maxRequests),
        "x-ratelimit-remaining-requests": String(maxRequests - this.#numRequests),
      }),
      ...(tokensPerMinute === undefined ? {} : {
        "x-ratelimit-limit-tokens": String(tokensPerMinute),
        "x-ratelimit-remaining-tokens": String(Math.max(0, Math.floor(this.#numTokensLeft))),
        "x-ratelimit-reset-tokens": `${Math.ceil(this.#msUntil(tokensPerMinute) / 1000)}s`,
      }),
    };
  }

  #use(numPromptTokens: number): KeyUse {
    const { name } = this.rules;
    let isOpen = true;
    const end = () => {
      if (isOpen) this.#numRequests--;
      isOpen = false;
    };
    this.#numRequests++;
    this.#numTokensLeft -= numPromptTokens;
    return {
      accept: () => this.#meter?.observeKeyTokens(name, "prompt", numPromptTokens),
      charge: (numTokens) => {
        this.#numTokensLeft -= numTokens;
        this.#meter?.observeKeyTokens(name, "generation", numTokens);
      },
      end,
      cancel: () => {
        if (isOpen) this.#numTokensLeft += numPromptTokens;
        end();
      },
    };
  }

  #fill(): void {
    const now = this.#now();
    const { tokensPerMinute = 0 } = this.rules;
    const numNew = (now - this.#filledMs) / MINUTE_MS * tokensPerMinute;
    this.#numTokensLeft = Math.min(tokensPerMinute, this.#numTokensLeft + numNew);
    this.#filledMs = now;
  }

  /** Milliseconds until the bucket holds so many tokens. */
  #msUntil(numTokens: number): number {
    const { tokensPerMinute = 1 } = this.rules;
    return Math.max(0, numTokens - this.#numTokensLeft) / tokensPerMinute * MINUTE_MS;
  }
}

function limited(message: string, details: Readonly<Record<string, number>>): RequestError {
  return new RequestError(message, {
    status: STATUS_CODE.TooManyRequests,
    type: "rate_limit_error",
    code: "rate_limit_exceeded",
    details,
  });
}
