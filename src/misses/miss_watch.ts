import type { FoundPrompt, MissPort, Observation } from "../core/found_prompt.ts";
import type { MissCause, MissReport } from "../core/miss_report.ts";
import type { PromptOrigin } from "../core/prompt_origin.ts";
import { explainDivergence, type Reading } from "./divergence.ts";
import { isAnsweredBy, isSameProgram } from "./same_program.ts";
import { PromptHistory } from "./prompt_history.ts";
import {
  anchorsOf,
  commonPrefix,
  type Overlap,
  overlapOf,
  type PromptRecord,
} from "./prompt_record.ts";

/** Answers to one prompt that are kept. */
const MAX_ANSWERS = 8;
/**
 * Last tokens of a prompt that open the answer, at most: the next prompt need not have them, such
 * as an empty thought.
 */
const MAX_OPENING = 8;
/** What may have changed between the conversations of one program. */
const PROGRAM_CAUSES: ReadonlySet<MissCause> = new Set<MissCause>(
  ["clock", "system_prompt", "tool_order", "tool_schema"],
);

/** Settings of a {@link MissWatch}. */
export interface MissWatchOptions extends Reading {
  /** Bytes of prompts and answers that are remembered, about; with 0 nothing is named. */
  readonly maxBytes: number;
  /** Whether the prefix cache is on. */
  readonly isCaching: boolean;
  /** Whether some layers keep a window or a state, so that not every length can be found. */
  readonly hasPartialCaches: () => boolean;
  /** Is told of each cause that is named. */
  readonly onCause?: (cause: MissCause) => void;
}

/** An earlier prompt, and how far another goes along with it. */
interface Earlier {
  readonly record: PromptRecord;
  readonly overlap: Overlap;
}

/**
 * Remembers the latest prompts and answers of each conversation in bounded memory. Of a prompt that
 * found less than the last one of its conversation had left it tells where and why it missed.
 *
 * A prompt that found all of it costs O(its tokens), a comparison of numbers; the rest is done on a
 * miss. A prompt is compared with those of its own API key only, and its texts with those of its
 * own cache scope.
 */
export class MissWatch implements MissPort {
  readonly #options: MissWatchOptions;
  readonly #history: PromptHistory;

  constructor(options: MissWatchOptions) {
    this.#options = options;
    this.#history = new PromptHistory(options.maxBytes);
  }

  /** Bytes that are remembered, about. */
  get numBytes(): number {
    return this.#history.numBytes;
  }

  /** Takes note of a prompt that the engine has begun to answer. */
  observe(prompt: FoundPrompt): Observation {
    const { owner, scope, ids, origin, counters } = prompt;
    const anchors = anchorsOf(prompt);
    const earlier = this.#find(prompt, anchors);
    const report = this.#report(prompt, earlier);
    if (report.cause !== undefined) this.#options.onCause?.(report.cause);
    if (this.#options.maxBytes === 0) return { report, answered: () => {} };
    // A prompt that goes on from another says all that the other does.
    const isContinued = earlier !== undefined && earlier.record.scope === scope &&
      earlier.overlap.length >= earlier.record.ids.length;
    const replaced = isContinued ? earlier.record : undefined;
    const answers = replaced?.ids.length === ids.length ? replaced.answers : [];
    const kept = { owner, scope, ids, answers, origin, counters };
    const record = this.#history.add(kept, replaced, anchors);
    return {
      report,
      answered: (tokens) => {
        if (tokens.length === 0) return;
        this.#history.addAnswer(record, Uint32Array.from(tokens), MAX_ANSWERS);
      },
    };
  }

  /** The earlier prompt of the same conversation, in the same scope where there is one. */
  #find(prompt: FoundPrompt, anchors: readonly string[]): Earlier | undefined {
    const records = new Set<PromptRecord>();
    for (const anchor of anchors) this.#history.addAnchored(anchor, records);
    let best: Earlier | undefined;
    for (const record of records) {
      const one = { record, overlap: overlapOf(prompt.ids, record) };
      if (best === undefined || isNearer(one, best, prompt)) best = one;
    }
    return best;
  }

  #report(prompt: FoundPrompt, earlier: Earlier | undefined): MissReport {
    const { ids, numCachedTokens, blockSize, evicted } = prompt;
    const own = earlier?.record.scope === prompt.scope ? earlier : undefined;
    const numExpected = own === undefined ? 0 : expectedOf(own, ids, blockSize);
    const counts = {
      numPromptTokens: ids.length,
      numCachedTokens,
      numExpectedTokens: Math.max(numExpected, numCachedTokens),
      ...(evicted && { evicted }),
    };
    const most = wholeBlocks(ids.length - 1, blockSize);
    if (this.#options.maxBytes === 0) return counts;
    if (numCachedTokens >= most && most > 0) return counts;
    if (!this.#options.isCaching) return { ...counts, cause: "cache_off" };
    if (prompt.isRead) return { ...counts, cause: "prompt_read" };
    if (most === 0) return { ...counts, cause: "too_short" };
    if (own !== undefined && numCachedTokens >= numExpected) {
      const isShort = numExpected === 0 && isWhole(own);
      return isShort ? { ...counts, cause: "too_short" } : counts;
    }
    return { ...counts, ...this.#explain(prompt, own, earlier) };
  }

  /** Why a prompt found less than it could have. */
  #explain(
    prompt: FoundPrompt,
    own: Earlier | undefined,
    earlier: Earlier | undefined,
  ): Pick<MissReport, "cause" | "divergence"> {
    const { numCachedTokens, blockSize, evicted } = prompt;
    if (own === undefined) {
      // Told only to a request that has all of the other prompt.
      if (earlier !== undefined && isWhole(earlier, MAX_OPENING)) return { cause: "cache_scope" };
      return this.#explainFirst(prompt);
    }
    const isShared = numCachedTokens >= wholeBlocks(own.overlap.length, blockSize);
    if (isShared) return explainDivergence({ ...prompt, ...own }, this.#options);
    if (evicted !== undefined) return { cause: "evicted" };
    return { cause: this.#whyGone(prompt, own.record) };
  }

  /** Why blocks that an earlier prompt had are not there. */
  #whyGone({ counters: now }: FoundPrompt, { counters: before }: PromptRecord): MissCause {
    if (now.numRestarts > before.numRestarts || now.numResetBlocks > before.numResetBlocks) {
      return "cache_reset";
    }
    if (this.#options.hasPartialCaches()) return "not_kept";
    return now.numEvictedBlocks > before.numEvictedBlocks ? "evicted" : "not_computed";
  }

  /**
   * Why a prompt without a known message of a user did not find more: it goes on from an answer to
   * another message, or it is the first of a conversation. That could have found what others of the
   * same program have left, whose system prompt and tools are the same but for a detail.
   */
  #explainFirst(prompt: FoundPrompt): Pick<MissReport, "cause" | "divergence"> {
    const { origin, scope, owner, ids } = prompt;
    if (prompt.evicted !== undefined) return { cause: "evicted" };
    if (origin === undefined) return { cause: "new_conversation" };
    const latest = this.#history.latestOf(owner).filter((record) => record.scope === scope);
    const goesOn = latest.find((record) => isAnsweredBy(record, origin, this.#options.textOf));
    if (goesOn !== undefined) return this.#explainParting(prompt, goesOn);
    const overlaps = latest.map((record) => commonPrefix(ids, record.ids));
    const longest = Math.max(0, ...overlaps);
    const sibling = latest.find(({ origin: old }, i) =>
      longest - overlaps[i]! < prompt.blockSize && old !== undefined && isSameProgram(old, origin)
    );
    const explained = sibling && this.#explainParting(prompt, sibling);
    const isProgramCause = explained !== undefined && PROGRAM_CAUSES.has(explained.cause);
    return isProgramCause ? explained : { cause: "new_conversation" };
  }

  #explainParting(prompt: FoundPrompt, record: PromptRecord) {
    const overlap = overlapOf(prompt.ids, record);
    return explainDivergence({ ...prompt, record, overlap }, this.#options);
  }
}

/** Whether a record's own scope, then what it has in common with a prompt, make it the better. */
function isNearer(one: Earlier, best: Earlier, { scope, blockSize, origin }: FoundPrompt): boolean {
  const isOwn = one.record.scope === scope;
  if (isOwn !== (best.record.scope === scope)) return isOwn;
  const further = Math.floor(one.overlap.length / blockSize) -
    Math.floor(best.overlap.length / blockSize);
  if (further !== 0) return further > 0;
  const more = numKnownMessages(one.record.origin, origin) -
    numKnownMessages(best.record.origin, origin);
  return more === 0 ? one.record.id > best.record.id : more > 0;
}

/** Messages of a chat that an earlier one had as well. */
function numKnownMessages(old: PromptOrigin | undefined, now: PromptOrigin | undefined): number {
  if (old === undefined || now === undefined) return 0;
  const known = new Set(old.messages.map(({ content }) => content));
  return now.messages.filter(({ content }) => known.has(content)).length;
}

/** Whether a prompt begins with all of an earlier one, but for so many of its last tokens. */
function isWhole({ record, overlap }: Earlier, numLeftOut = 0): boolean {
  return overlap.length > 0 && overlap.length >= record.ids.length - numLeftOut;
}

/** Tokens that could have been found of an earlier prompt and its answer, by their number. */
function expectedOf({ record, overlap }: Earlier, ids: Uint32Array, blockSize: number): number {
  const numOld = record.ids.length + overlap.answer.length;
  // The last token of an answer is drawn, and never computed; the last of a prompt always is.
  return wholeBlocks(Math.min(numOld - 1, ids.length - 1), blockSize);
}

function wholeBlocks(numTokens: number, blockSize: number): number {
  return Math.max(0, Math.floor(numTokens / blockSize) * blockSize);
}
