import type { Load, Turn } from "./load.ts";

/** Tokens per id of a Mooncake trace. */
const TOKENS_PER_ID = 512;
/** Ids of what is generated: no prompt has them. */
const FIRST_OUTPUT = 2 ** 31;

/** How much of a workload trace is replayed, and how fast. */
export interface WorkloadTraceCut {
  /** Requests from the start; all of them where there are fewer. */
  readonly maxRequests: number;
  /** Times between arrivals are divided by it. */
  readonly speed: number;
}

/**
 * Reads a Mooncake trace (Qin et al. 2025, FAST): JSON lines of `timestamp` in ms, `input_length`,
 * `output_length`, and a `hash_ids` entry per 512 tokens, equal where all tokens up to there are.
 */
export function mooncakeLoad(text: string, name: string, cut: WorkloadTraceCut): Load {
  const lines = text.trim().split("\n").slice(0, cut.maxRequests);
  return {
    name,
    sessions: lines.map((line, i) => {
      const { timestamp, input_length, output_length, hash_ids } = JSON.parse(line);
      const ids = Uint32Array.from(hash_ids as number[]);
      const token = outputTokens(i);
      const turn: Turn = {
        gapMs: timestamp / cut.speed,
        promptLen: input_length,
        outputLen: Math.max(1, output_length),
        prompt: () => tokensOf(ids, input_length),
        token,
      };
      return { turns: [turn] };
    }),
  };
}

/** Reads an Azure trace (Patel et al. 2024): `TIMESTAMP,ContextTokens,GeneratedTokens`. */
export function azureLoad(text: string, name: string, cut: WorkloadTraceCut): Load {
  const lines = text.trim().split(/\r?\n/).slice(1, 1 + cut.maxRequests);
  const fields = lines.map((line) => line.split(","));
  const beganMs = timeMs(fields[0]?.[0] ?? "");
  let firstId = 1;
  return {
    name,
    sessions: fields.map(([time, context, generated], i) => {
      const promptLen = Math.max(1, Number(context));
      const first = firstId;
      firstId += promptLen;
      const turn: Turn = {
        gapMs: (timeMs(time!) - beganMs) / cut.speed,
        promptLen,
        outputLen: Math.max(1, Number(generated)),
        prompt: () => Uint32Array.from({ length: promptLen }, (_, j) => first + j),
        token: outputTokens(i),
      };
      return { turns: [turn] };
    }),
  };
}

/** Milliseconds of a time of day with a fraction of seven digits. */
function timeMs(time: string): number {
  return Date.parse(`${time.slice(0, 23).replace(" ", "T")}Z`);
}

function tokensOf(ids: Uint32Array, length: number): Uint32Array {
  const tokens = new Uint32Array(length);
  for (let i = 0; i < length; i++) {
    tokens[i] = ids[Math.floor(i / TOKENS_PER_ID)]! * TOKENS_PER_ID + i % TOKENS_PER_ID;
  }
  return tokens;
}

/** No trace says what was generated: nothing that comes later begins with it. */
function outputTokens(request: number): Turn["token"] {
  return (i) => (FIRST_OUTPUT + request * 4096 + i) >>> 0;
}
