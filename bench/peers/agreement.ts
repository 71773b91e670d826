import type { PeerAnswer } from "./peer_task.ts";

/**
 * Largest difference between two implementations' log-probabilities of one token, natural logarithm.
 *
 * llama.cpp's CPU backend rounds activations to f16 before each matrix product, Quire computes in
 * f32: seen are 0.04 at 135 M parameters. Twice the rotary base gives 0.7.
 */
export const TOLERANCE = 0.15;

/** What a comparison of answers has found. */
export interface Agreement {
  /** Tokens that both drew, and steps that were compared. */
  readonly numEqual: number;
  readonly numSteps: number;
  /** Largest difference of a log-probability. */
  readonly worst: number;
}

/**
 * Compares two peers' answers to one task, step by step for as long as their texts are the same.
 *
 * Both must report log-probabilities of the likeliest tokens within {@link TOLERANCE}. They may draw
 * different tokens only where the first takes these for as good as equal; their texts part there.
 *
 * @throws {Error} naming sequence, step and numbers, where they do not compute the same model.
 */
export function compareAnswers(first: PeerAnswer, second: PeerAnswer): Agreement {
  let [numEqual, numSteps, worst] = [0, 0, 0];
  first.tokens.forEach((tokens, sequence) => {
    for (const [step, token] of tokens.entries()) {
      const where = `sequence ${sequence}, step ${step}`;
      const ours = new Map(first.logprobs![sequence]![step]!);
      const theirs = second.logprobs![sequence]![step]!;
      worst = Math.max(worst, compareStep(ours, theirs, where));
      numSteps++;
      const other = second.tokens[sequence]![step]!;
      if (token === other) numEqual++;
      else {
        const margin = (ours.get(token) ?? -Infinity) - (ours.get(other) ?? -Infinity);
        if (margin <= TOLERANCE) break;
        throw new Error(`${where}: token ${token} against ${other}, ${margin} apart`);
      }
    }
  });
  return { numEqual, numSteps, worst };
}

/** The largest difference among the tokens that both list, which must be most of them. */
function compareStep(
  ours: ReadonlyMap<number, number>,
  theirs: readonly (readonly [number, number])[],
  where: string,
): number {
  const common = theirs.filter(([token]) => ours.has(token));
  if (common.length < theirs.length / 2) {
    throw new Error(`${where}: of ${theirs.length} likeliest tokens ${common.length} are common`);
  }
  const worst = Math.max(...common.map(([token, own]) => Math.abs(own - ours.get(token)!)));
  if (worst <= TOLERANCE) return worst;
  throw new Error(`${where}: log-probabilities differ by ${worst}, over ${TOLERANCE}`);
}
