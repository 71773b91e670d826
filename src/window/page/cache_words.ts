/** What an answer says of its prompt and the cache. */
export interface CacheUse {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** Tokens of the conversation at the end of the answer before; absent at its beginning. */
  readonly earlierTokens?: number;
  /** The server's decisions about the request, as `explain` gives them. */
  readonly decisions: readonly Decision[];
}

/** One decision, as far as words are made of it. */
export interface Decision {
  readonly type: string;
  readonly request_id?: string;
  readonly num_blocks?: number;
  readonly num_cached_tokens?: number;
  readonly text: string;
}

/** Tokens of a block where no hit tells. */
const DEFAULT_BLOCK_SIZE = 16;

/** Why not more of a prompt was found in the cache, and what else happened to it, in sentences. */
export function cacheWords(use: CacheUse): string[] {
  return [foundWords(use), ...missedWords(use), ...waitWords(use.decisions)];
}

/** Tokens of a block, from what a hit found. */
function blockSizeOf({ decisions, cachedTokens }: CacheUse): number {
  const hit = decisions.find(({ type }) => type === "hit");
  const size = cachedTokens / (hit?.num_blocks ?? 0);
  return Number.isInteger(size) && size > 0 ? size : DEFAULT_BLOCK_SIZE;
}

function foundWords({ promptTokens, cachedTokens }: CacheUse): string {
  if (cachedTokens === 0) return `None of the prompt's ${tokens(promptTokens)} was in the cache.`;
  return `${cachedTokens} of the prompt's ${tokens(promptTokens)} were read from the cache; ` +
    `${promptTokens - cachedTokens} had to be computed.`;
}

function missedWords(use: CacheUse): string[] {
  const { promptTokens, cachedTokens, earlierTokens } = use;
  const blockSize = blockSizeOf(use);
  const whole = (count: number) => Math.floor(count / blockSize) * blockSize;
  const blocks = `What is shared is whole blocks of ${blockSize} tokens`;
  if (cachedTokens >= whole(promptTokens - 1)) {
    return cachedTokens === 0
      ? [`${blocks}, and this prompt has none that could be shared.`]
      : [`${blocks}, and the last token of a prompt is always computed: more was not possible.`];
  }
  if (earlierTokens === undefined) {
    return cachedTokens === 0
      ? ["No earlier prompt that is still kept began like this one, under the same key."]
      : [
        "Behind that it differs from every earlier prompt that is still kept, under the same key.",
      ];
  }
  // The token that ended the last answer was drawn and never read.
  if (cachedTokens >= whole(earlierTokens - 1)) {
    return [`That is all of the earlier turns; the rest is new. ${blocks}.`];
  }
  return [
    `The earlier turns had ${tokens(earlierTokens)}. What is missing was evicted since, or reads ` +
    "differently now: an edit, another system prompt, or thoughts that the template leaves out.",
  ];
}

/** Waits and preemptions, in the server's own words without the request's name. */
function waitWords(decisions: readonly Decision[]): string[] {
  return decisions.filter(({ type }) => type === "wait" || type === "preempt")
    .map(({ text, request_id = "" }) => {
      const plain = text.replace(/^step \d+: /, "").replace(/^\S+\[\d+\] /, "")
        .replaceAll(request_id, "it");
      return `The request ${plain}.`;
    });
}

function tokens(count: number): string {
  return `${count} ${count === 1 ? "token" : "tokens"}`;
}
