import type { Divergence, MissCause, PromptPart } from "../core/miss_report.ts";
import type { PromptOrigin } from "../core/prompt_origin.ts";
import { differByClock, firstDifference } from "./clock_text.ts";
import { type OriginDifference, originDifferences } from "./origin_difference.ts";
import type { Overlap, PromptRecord } from "./prompt_record.ts";

/** Tokens shown before and behind a divergence. */
const NUM_BEFORE = 16;
const NUM_BEHIND = 24;
/** Characters of a changed text, on each side of the change, by which a prompt shows it. */
const NUM_SEEN_CHARS = 12;
/** Text that has to be the same before an answer counts as the same in other tokens. */
const MIN_SAME_CHARS = 12;
/** What stands around a thought, where the model's template does not say. */
const DEFAULT_MARKS = { begin: "<think>", end: "</think>" };

/** The text of some tokens, special ones written out. */
export type TextOf = (ids: Uint32Array) => string;

/** A prompt and the earlier one that it parts from. */
export interface PromptPair {
  readonly ids: Uint32Array;
  readonly origin: PromptOrigin | undefined;
  readonly record: PromptRecord;
  readonly overlap: Overlap;
}

/** How texts of tokens are read. */
export interface Reading {
  readonly textOf: TextOf;
  /** What stands around a thought of the model. */
  readonly thinking?: { readonly begin: string; readonly end: string } | undefined;
}

/** The texts around a divergence. */
interface Excerpts {
  readonly before: string;
  readonly old: string;
  readonly new: string;
  /** Text of the first token that differs, of each. */
  readonly firstOld: string;
  readonly firstNew: string;
}

/**
 * Says why a prompt parts from the earlier one of its conversation where it does.
 *
 * Which part of the request the first differing token comes from is told by comparing the requests,
 * not by rendering them again; of several parts that have changed it is the one whose texts stand
 * at the divergence. O(both requests), and O(1) tokens become text.
 */
export function explainDivergence(
  pair: PromptPair,
  reading: Reading,
): { readonly cause: MissCause; readonly divergence: Divergence } {
  const excerpts = excerptsOf(pair, reading.textOf);
  const { cause, part } = causeOf(pair, excerpts, reading.thinking ?? DEFAULT_MARKS);
  const { before, old, new: now } = excerpts;
  const position = pair.overlap.length;
  return {
    cause,
    divergence: { position, ...(part && { part }), before, old, new: now },
  };
}

function causeOf(
  { record, origin, overlap }: PromptPair,
  excerpts: Excerpts,
  marks: typeof DEFAULT_MARKS,
): { readonly cause: MissCause; readonly part?: PromptPart } {
  if (origin === undefined || record.origin === undefined) {
    return ofPlainPrompt(overlap, record, excerpts);
  }
  const differences = originDifferences(record.origin, origin);
  const numBefore = record.origin.messages.length;
  if (losesThought(excerpts, marks)) {
    return {
      cause: "thinking_stripped",
      ...partOf(thoughtlessMessage(origin, numBefore, differences)),
    };
  }
  const seen = differences.find((difference) => isSeen(difference, excerpts));
  if (seen !== undefined) return seen;
  const isInAnswer = overlap.length >= record.ids.length;
  if (!isInAnswer) {
    if (isClock(excerpts)) return { cause: "clock", part: { field: "chat_template" } };
    if (differences[0] !== undefined) return differences[0];
  }
  const next = origin.messages[numBefore];
  if (next !== undefined && next.role !== "assistant") {
    const part = { message: numBefore, role: next.role, field: "content" };
    return { cause: "messages_dropped", part };
  }
  if (isInAnswer && next !== undefined) {
    const hasCalls = (next.tool_calls?.length ?? 0) > 0;
    const part = {
      message: numBefore,
      role: next.role,
      field: hasCalls ? "tool_calls" : "content",
    };
    const isSame = isReencoded(excerpts) || (hasCalls && isSameButSpace(excerpts));
    return { cause: isSame ? "answer_reencoded" : "answer_changed", part };
  }
  return { cause: "template", part: { field: "chat_template" } };
}

/** A prompt that is no chat has one part. */
function ofPlainPrompt({ length }: Overlap, { ids }: PromptRecord, excerpts: Excerpts) {
  const part = { field: "prompt" };
  if (length >= ids.length) {
    const cause = isReencoded(excerpts) ? "answer_reencoded" : "answer_changed";
    return { cause, part } as const;
  }
  return { cause: isClock(excerpts) ? "clock" : "message_edited", part } as const;
}

function excerptsOf({ ids, record, overlap }: PromptPair, textOf: TextOf): Excerpts {
  const { length, answer } = overlap;
  const behindPrompt = Math.max(0, length - record.ids.length);
  const old = Uint32Array.from([
    ...record.ids.subarray(length, length + NUM_BEHIND),
    ...answer.subarray(behindPrompt, behindPrompt + NUM_BEHIND),
  ]).subarray(0, NUM_BEHIND);
  const now = ids.subarray(length, length + NUM_BEHIND);
  return {
    before: textOf(ids.subarray(Math.max(0, length - NUM_BEFORE), length)),
    old: textOf(old),
    new: textOf(now),
    firstOld: textOf(old.subarray(0, 1)),
    firstNew: textOf(now.subarray(0, 1)),
  };
}

/** Whether a thought begins or goes on at the divergence that this prompt has not. */
function losesThought({ before, old, new: now }: Excerpts, { begin, end }: typeof DEFAULT_MARKS) {
  const marks = (mark: string, behind: string) => {
    const text = before + behind;
    const at = text.lastIndexOf(mark, before.length + leadingSpace(behind));
    return at !== -1 && at + mark.length > before.length;
  };
  if (marks(begin, old)) return !marks(begin, now);
  const isInside = before.includes(begin) && before.lastIndexOf(begin) > before.lastIndexOf(end);
  return isInside && marks(end, now) && !marks(end, old);
}

function leadingSpace(text: string): number {
  return text.length - text.trimStart().length;
}

/** The message that has lost its thought: the one that differs, or the last of the assistant's. */
function thoughtlessMessage(
  { messages }: PromptOrigin,
  numBefore: number,
  differences: readonly OriginDifference[],
): PromptPart | undefined {
  const changed = differences.find(({ part }) => part.role === "assistant");
  if (changed !== undefined) return changed.part;
  const at = messages.findLastIndex(({ role }, index) =>
    role === "assistant" && index <= numBefore
  );
  const field = "reasoning_content";
  return at === -1 ? undefined : { message: at, role: "assistant", field };
}

function partOf(part: PromptPart | undefined) {
  return part === undefined ? {} : { part };
}

/** Whether the texts of a changed part stand at the divergence, white space and escapes aside. */
function isSeen({ old, new: now }: OriginDifference, excerpts: Excerpts): boolean {
  const at = firstDifference(old, now);
  const shows = (text: string, behind: string) => {
    const start = Math.max(0, at - NUM_SEEN_CHARS);
    const around = squeezed(text.slice(start, at + NUM_SEEN_CHARS));
    return around !== "" && squeezed(excerpts.before + behind).includes(around);
  };
  if (old === "") return shows(now, excerpts.new);
  if (now === "") return shows(old, excerpts.old);
  return shows(old, excerpts.old) && shows(now, excerpts.new);
}

function squeezed(text: string): string {
  return text.replace(/[\s\\]+/g, "");
}

/** Whether the text goes on as it did, in other tokens. */
function isReencoded({ old, new: now, firstOld, firstNew }: Excerpts): boolean {
  const same = firstDifference(old, now);
  const longest = Math.max(firstOld.length, firstNew.length);
  return same >= Math.max(longest, Math.min(old.length, now.length, MIN_SAME_CHARS));
}

function isClock({ before, old, new: now }: Excerpts): boolean {
  return differByClock(before + old, before + now);
}

function isSameButSpace({ before, old, new: now }: Excerpts): boolean {
  const [a, b] = [squeezed(before + old), squeezed(before + now)];
  const same = firstDifference(a, b);
  return same >= Math.min(a.length, b.length, squeezed(before).length + MIN_SAME_CHARS);
}
