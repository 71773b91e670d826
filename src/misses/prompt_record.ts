import type { CacheCounters } from "../core/found_prompt.ts";
import type { OriginMessage, PromptOrigin } from "../core/prompt_origin.ts";

/** Bytes that a record takes beside its tokens and texts, about. */
const RECORD_BYTES = 1024;
/** Characters of a message by which conversations are told apart, beside its length. */
const NUM_ANCHOR_CHARS = 64;
/** First tokens by which prompts that are no chats are told apart. */
const NUM_ANCHOR_TOKENS = 16;
/** The latest messages of a user by which a conversation is looked for. */
const MAX_ANCHORS = 32;

/** One prompt as it is remembered, with the answers to it. */
export interface PromptRecord {
  readonly id: number;
  /** Names the API key; undefined for requests without. */
  readonly owner: string | undefined;
  /** Names API key and `cache_salt` together. */
  readonly scope: string | undefined;
  readonly ids: Uint32Array;
  /** Tokens of each answer that is complete. */
  answers: readonly Uint32Array[];
  /** Absent for a prompt that was given as text or tokens. */
  readonly origin: PromptOrigin | undefined;
  readonly counters: CacheCounters;
}

/** Bytes that a record keeps in memory, about: JavaScript's strings take up to 2 per character. */
export function bytesOf({ ids, answers, origin }: PromptRecord): number {
  const numTokens = answers.reduce((sum, { length }) => sum + length, ids.length);
  return RECORD_BYTES + 4 * numTokens + 2 * (origin?.numChars ?? 0);
}

/** Of the anchors of a prompt those that it is kept under: the first and the last. */
export function anchorsToKeep(anchors: readonly string[]): readonly string[] {
  return anchors.length <= 2 ? anchors : [anchors[0]!, anchors.at(-1)!];
}

/**
 * The anchors under which an earlier prompt of the same conversation may be kept: one per message
 * of the user, the first message's first. A prompt that has dropped or changed messages still has
 * others of them. O(1) per message.
 */
export function anchorsOf(
  { owner = "", ids, origin }: Pick<PromptRecord, "owner" | "ids" | "origin">,
): string[] {
  if (origin === undefined) return [`${owner} ids ${ids.subarray(0, NUM_ANCHOR_TOKENS).join()}`];
  const anchors: string[] = [];
  // From the latest to the first.
  for (let i = origin.messages.length - 1; i >= 0 && anchors.length < MAX_ANCHORS - 1; i--) {
    if (origin.messages[i]!.role === "user") anchors.push(anchorOf(owner, origin.messages[i]!));
  }
  const first = origin.messages.find(({ role }) => role === "user");
  if (first !== undefined) anchors.push(anchorOf(owner, first));
  return [...new Set(anchors.reverse())];
}

function anchorOf(owner: string, { content }: OriginMessage): string {
  return `${owner} user ${content.length} ${content.slice(0, NUM_ANCHOR_CHARS)}`;
}

/** Leading tokens that two sequences have in common. O(those tokens). */
export function commonPrefix(a: Uint32Array, b: Uint32Array): number {
  const end = Math.min(a.length, b.length);
  let at = 0;
  while (at < end && a[at] === b[at]) at++;
  return at;
}

/** How far a prompt goes along with a record: through its prompt, and then one of its answers. */
export interface Overlap {
  readonly length: number;
  /** The answer that goes farthest with it; empty where there is none. */
  readonly answer: Uint32Array;
}

/** Finds how far `ids` go along with a record. O(tokens in common, per answer). */
export function overlapOf(ids: Uint32Array, { ids: old, answers }: PromptRecord): Overlap {
  const length = commonPrefix(ids, old);
  let best: Overlap = { length, answer: answers[0] ?? new Uint32Array() };
  if (length < old.length || answers.length === 0) return best;
  const rest = ids.subarray(length);
  for (const answer of answers) {
    const further = length + commonPrefix(rest, answer);
    if (further > best.length) best = { length: further, answer };
  }
  return best;
}
