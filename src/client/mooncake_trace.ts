import { StartupError } from "../core/errors.ts";

/** One request of a workload trace in the form of Mooncake's (Qin et al. 2025, FAST). */
export interface MooncakeRequest {
  /** When it came, ms from the trace's begin. */
  readonly timestamp: number;
  /** Tokens of the prompt. */
  readonly inputLength: number;
  /** Tokens of the answer. */
  readonly outputLength: number;
  /**
   * One per block of {@link MOONCAKE_BLOCK_TOKENS} tokens; equal ids stand for equal beginnings.
   */
  readonly hashIds: readonly number[];
}

/** Tokens that an id of such a trace stands for. */
export const MOONCAKE_BLOCK_TOKENS = 512;

/**
 * Reads a workload trace: one JSON object per line.
 *
 * @param limit requests that are read at most.
 * @throws {StartupError} naming the line and the field that is wrong.
 */
export function parseMooncakeTrace(
  text: string,
  file: string,
  limit = Infinity,
): MooncakeRequest[] {
  const requests: MooncakeRequest[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    if (requests.length >= limit) break;
    if (line.trim() === "") continue;
    requests.push(parseLine(line, `${file}:${i + 1}`));
  }
  if (requests.length === 0) throw new StartupError(`${file} holds no request`);
  return requests;
}

function parseLine(line: string, where: string): MooncakeRequest {
  let record: Record<string, unknown>;
  try {
    record = JSON.parse(line);
  } catch {
    throw new StartupError(`${where} is no JSON`);
  }
  const number = (field: string, minimum: number): number => {
    const value = record?.[field];
    if (typeof value === "number" && Number.isFinite(value) && value >= minimum) return value;
    throw new StartupError(
      `${where}: ${field} must be a number of at least ${minimum}, got ${JSON.stringify(value)}`,
    );
  };
  const timestamp = number("timestamp", 0);
  const inputLength = number("input_length", 1);
  const outputLength = number("output_length", 0);
  const { hash_ids: hashIds } = record;
  if (!Array.isArray(hashIds) || !hashIds.every(Number.isInteger)) {
    throw new StartupError(`${where}: hash_ids must be a list of integers`);
  }
  return { timestamp, inputLength, outputLength, hashIds };
}
