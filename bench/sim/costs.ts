import type { StepWork } from "./step_work.ts";

/** How long a step takes on some device: a constant and three slopes, each in milliseconds. */
export interface StepCosts {
  /** The device and the model that the constants are of. */
  readonly device: string;
  readonly model: string;
  /** How they were found. */
  readonly source: string;
  /** Of a step, whatever it computes. */
  readonly stepMs: number;
  /** Per position computed. */
  readonly tokenMs: number;
  /** Per pair of a computed position and one that it attends to. */
  readonly pairMs: number;
  /** Per block of 16 positions that a sequence reads. */
  readonly blockMs: number;
  /** Per block of 16 positions that is copied to host memory or back. Absent: 0. */
  readonly swapMs?: number;
}

/** Constants by name; the first is the default. `deno task sim --calibrate` measures others. */
export const KNOWN_COSTS = {
  "8b-gpu": {
    device: "a GPU of 1 TB/s and 50 TFLOP/s",
    model: "8B parameters in f16, 32 layers, 8 KV heads of 128",
    source: "arithmetic: 16 GB of weights per step, 16 GFLOP per token, 0.52 MFLOP per pair, " +
      "2 MiB per block of 16, copied at 25 GB/s",
    stepMs: 16,
    tokenMs: 0.32,
    pairMs: 1.05e-5,
    blockMs: 0.0021,
    swapMs: 0.084,
  },
} as const satisfies Readonly<Record<string, StepCosts>>;

/** The constants of a step's time, in the order of a fit. */
const CONSTANTS = ["stepMs", "tokenMs", "pairMs", "blockMs"] as const;

/**
 * The constants on the last line of a text, as `deno task sim --calibrate` prints them.
 *
 * @param file what errors call it.
 * @throws {RangeError} naming the field and its value.
 */
export function parseCosts(text: string, file: string): StepCosts {
  const costs: StepCosts = JSON.parse(text.trimEnd().split("\n").at(-1)!);
  for (const name of [...CONSTANTS, "swapMs"] as const) {
    const value: unknown = name === "swapMs" ? costs[name] ?? 0 : costs[name];
    if (typeof value === "number" && value >= 0 && Number.isFinite(value)) continue;
    throw new RangeError(
      `${file}: ${name} is ${JSON.stringify(value)}: must be milliseconds, 0 or more`,
    );
  }
  return costs;
}

/** What of a step's work takes time. */
type CostedWork = Pick<StepWork, "numTokens" | "numPairs" | "numBlocks" | "numSwapped">;

/** Milliseconds of a step. */
export function stepMsOf(
  { stepMs, tokenMs, pairMs, blockMs, swapMs = 0 }: StepCosts,
  { numTokens, numPairs, numBlocks, numSwapped = 0 }: CostedWork,
): number {
  return stepMs + tokenMs * numTokens + pairMs * numPairs + blockMs * numBlocks +
    swapMs * numSwapped;
}

/** A measured step. */
export interface StepSample {
  readonly work: Pick<StepWork, "numTokens" | "numPairs" | "numBlocks">;
  readonly ms: number;
}

/**
 * The constants that fit measured steps best by relative error, none of them below 0: coordinate
 * descent on the normal equations, which needs no pivoting and keeps the bound at every step.
 */
export function fitCosts(
  samples: readonly StepSample[],
): Pick<StepCosts, "stepMs" | "tokenMs" | "pairMs" | "blockMs"> {
  // Each row is divided by its time, so that short steps count as much as long ones.
  const rows = samples.map(({ work: { numTokens, numPairs, numBlocks }, ms }) =>
    [1, numTokens, numPairs, numBlocks].map((value) => value / ms)
  );
  // Columns of one size converge alike.
  const scales = [0, 1, 2, 3].map((j) => Math.hypot(...rows.map((row) => row[j]!)) || 1);
  const scaled = rows.map((row) => row.map((value, j) => value / scales[j]!));
  const found = [0, 0, 0, 0];
  for (let round = 0; round < 20_000; round++) {
    for (let j = 0; j < 4; j++) {
      let slope = 0;
      for (const row of scaled) {
        slope += row[j]! * (1 - row.reduce((sum, value, k) => sum + value * found[k]!, 0));
      }
      found[j] = Math.max(0, found[j]! + slope);
    }
  }
  const [stepMs, tokenMs, pairMs, blockMs] = found.map((value, j) => value / scales[j]!);
  return { stepMs: stepMs!, tokenMs: tokenMs!, pairMs: pairMs!, blockMs: blockMs! };
}
