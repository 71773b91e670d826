import { STEP, type StepDims } from "./step.ts";

/** Which rows a kernel works on: every token of the step, or one per drawn token. */
export type Rows = "tokens" | "draws";

/** The header word that counts them. */
export const ROWS_WORD: Readonly<Record<Rows, number>> = {
  tokens: STEP.numTokens,
  draws: STEP.numDraws,
};

/** How many there are in a step. */
export function numRows(rows: Rows, dims: StepDims): number {
  return rows === "tokens" ? dims.numTokens : dims.numDraws;
}
