/** What the holders of a key may use. */
export interface KeyRules {
  /** For logs and refusals, which never show the key. */
  readonly name: string;
  /** Most generations in flight. */
  readonly maxRequests?: number;
  /** Tokens of prompts and answers per minute. */
  readonly tokensPerMinute?: number;
  /** Of those that wait, keys of a higher one are admitted first; default: 0. */
  readonly priority?: number;
}

/** Which limit of a key a request has met. */
export type KeyLimit = "requests" | "tokens";

/** Is told what the holders of keys use, by the name of the key. */
export interface KeyMeter {
  /** So many tokens were charged. */
  observeKeyTokens(key: string, kind: "prompt" | "generation", numTokens: number): void;
  observeKeyRefusal(key: string, limit: KeyLimit): void;
}
