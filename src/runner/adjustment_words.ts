import { ADJUST, ADJUST_WORDS, DRAW, DRAW_WORDS, HEADER_WORDS, STEP } from "../../kernels/step.ts";
import type { DrawRequest, LogitAdjustment } from "../core/batch.ts";
import { f32ToBits } from "../base/float_bits.ts";

/** Where the adjustments of a step end, and how many and how large they are. */
export interface PackedAdjustments {
  /** The first word after them. */
  readonly end: number;
  readonly numAdjusts: number;
  /** Most entries of one of them. */
  readonly maxAdjustEntries: number;
  /** How many of them have a bitmask. */
  readonly numBitmasks: number;
}

/** Words that the adjustments of these draws take; a bitmask that several share counts once. */
export function adjustmentWords(draws: readonly DrawRequest[]): number {
  const bitmasks = new Set<Uint32Array>();
  let numWords = 0;
  for (const { adjustment } of draws) {
    if (adjustment === undefined) continue;
    numWords += ADJUST_WORDS + 3 * adjustment.tokens.length;
    if (adjustment.allowedTokens !== undefined) bitmasks.add(adjustment.allowedTokens);
  }
  for (const bitmask of bitmasks) numWords += bitmask.length;
  return numWords;
}

/**
 * Writes the adjustments of a step's draws from word `at` on, and names them in header and draws.
 */
export function putAdjustments(
  words: Uint32Array<ArrayBuffer>,
  at: number,
  draws: readonly DrawRequest[],
): PackedAdjustments {
  const header = words.subarray(0, HEADER_WORDS);
  const numAdjusts = draws.filter(({ adjustment }) => adjustment !== undefined).length;
  header[STEP.numAdjusts] = numAdjusts;
  header[STEP.adjusts] = at;
  const bitmasks = new Map<Uint32Array, number>();
  let record = at;
  let end = at + numAdjusts * ADJUST_WORDS;
  let maxAdjustEntries = 0;
  let numBitmasks = 0;
  draws.forEach(({ adjustment }, i) => {
    if (adjustment === undefined) return;
    words[header[STEP.draws]! + i * DRAW_WORDS + DRAW.adjust] = record;
    const { tokens, allowedTokens } = adjustment;
    putRecord(words, record, adjustment);
    words[record + ADJUST.draw] = i;
    words[record + ADJUST.tokens] = end;
    end = putEntries(words, end, adjustment);
    if (allowedTokens !== undefined && !bitmasks.has(allowedTokens)) {
      bitmasks.set(allowedTokens, end);
      words.set(allowedTokens, end);
      end += allowedTokens.length;
    }
    words[record + ADJUST.allowed] = allowedTokens === undefined ? 0 : bitmasks.get(allowedTokens)!;
    maxAdjustEntries = Math.max(maxAdjustEntries, tokens.length);
    if (allowedTokens !== undefined) numBitmasks++;
    record += ADJUST_WORDS;
  });
  return { end, numAdjusts, maxAdjustEntries, numBitmasks };
}

function putRecord(words: Uint32Array, at: number, adjustment: LogitAdjustment): void {
  words[at + ADJUST.repetition] = f32ToBits(adjustment.repetitionPenalty);
  words[at + ADJUST.frequency] = f32ToBits(adjustment.frequencyPenalty);
  words[at + ADJUST.presence] = f32ToBits(adjustment.presencePenalty);
  words[at + ADJUST.numTokens] = adjustment.tokens.length;
  words[at + ADJUST.numAllowed] = adjustment.allowedTokens?.length ?? 0;
}

function putEntries(
  words: Uint32Array,
  at: number,
  { tokens, counts, biases }: LogitAdjustment,
): number {
  words.set(tokens, at);
  words.set(counts, at + tokens.length);
  const bits = new Uint32Array(biases.buffer, biases.byteOffset, biases.length);
  words.set(bits, at + 2 * tokens.length);
  return at + 3 * tokens.length;
}
