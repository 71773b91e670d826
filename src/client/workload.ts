import { SeededRandom } from "../base/seeded_random.ts";
import { MOONCAKE_BLOCK_TOKENS, type MooncakeRequest } from "./mooncake_trace.ts";
import { randomWords, type WordCount, wordsFor } from "./words.ts";

/** One question, and the most tokens of its answer. */
export interface Turn {
  readonly text: string;
  readonly maxTokens: number;
}

/** Questions that follow each other, each when the one before is answered. */
export interface Session {
  /** When the first is asked, ms from the begin. */
  readonly beginMs: number;
  readonly turns: readonly Turn[];
}

/** Sizes of a workload, lengths in tokens. */
export interface WorkloadSizes {
  readonly numPrompts: number;
  readonly inputLen: number;
  readonly outputLen: number;
  readonly prefixLen: number;
  readonly numPrefixes: number;
  readonly turns: number;
  readonly seed: number;
}

/** When requests begin. */
export interface Pace {
  /** Requests per second; undefined for all at once. */
  readonly rate: number | undefined;
  /** Shape of the gamma distribution of the pauses. */
  readonly burstiness: number;
}

/** The sessions of a workload of this program's own. */
export function makeSessions(
  kind: "random" | "prefix" | "turns",
  sizes: WorkloadSizes,
  { pace, words }: { readonly pace: Pace; readonly words: WordCount },
): Session[] {
  const random = new SeededRandom(sizes.seed);
  const { numPrompts, inputLen, outputLen, prefixLen, numPrefixes } = sizes;
  const own = () => randomWords(random, wordsFor(inputLen, words));
  const body = Math.max(1, inputLen - words.overhead);
  const first = () => randomWords(random, wordsFor(body, words));
  const prefixes = kind !== "prefix" ? [] : Array.from(
    { length: numPrefixes },
    () => randomWords(random, wordsFor(Math.max(1, prefixLen - words.overhead), words)),
  );
  const begins = beginTimes(numPrompts, pace, random);
  return begins.map((beginMs, i) => {
    const texts = kind === "prefix"
      ? [`${prefixes[i % numPrefixes]} ${own()}`]
      : Array.from({ length: kind === "turns" ? sizes.turns : 1 }, (_, turn) => {
        return turn === 0 ? first() : own();
      });
    return { beginMs, turns: texts.map((text) => ({ text, maxTokens: outputLen })) };
  });
}

/**
 * The sessions of a workload trace: prompts whose beginnings are equal exactly where those of the
 * trace are.
 *
 * @param scale divides all lengths.
 * @param speed divides all times.
 */
export function mooncakeSessions(
  requests: readonly MooncakeRequest[],
  { scale, speed, seed, words }: {
    readonly scale: number;
    readonly speed: number;
    readonly seed: number;
    readonly words: WordCount;
  },
): Session[] {
  const blocks = new Map<number, string>();
  const blockWords = wordsFor(MOONCAKE_BLOCK_TOKENS / scale, words);
  const block = (id: number) => {
    const text = blocks.get(id) ?? randomWords(new SeededRandom(seed + id * 2 + 1), blockWords);
    blocks.set(id, text);
    return text;
  };
  return requests.map(({ timestamp, inputLength, outputLength, hashIds }) => {
    const text = hashIds.map(block).join(" ").split(" ");
    const length = wordsFor(Math.max(1, inputLength / scale - words.overhead), words);
    return {
      beginMs: timestamp / speed,
      turns: [{
        text: text.slice(0, length).join(" "),
        maxTokens: Math.max(1, Math.round(outputLength / scale)),
      }],
    };
  });
}

/**
 * When requests begin: pauses of a gamma distribution, stretched so that the last one begins after
 * `count / rate` seconds, as `vllm bench serve` does.
 */
export function beginTimes(
  count: number,
  { rate, burstiness }: Pace,
  random: SeededRandom,
): number[] {
  if (rate === undefined) return Array(count).fill(0);
  let sum = 0;
  const times = Array.from({ length: count }, () => sum += gamma(burstiness, random));
  const stretch = sum === 0 ? 0 : count / rate * 1000 / sum;
  return times.map((time) => time * stretch);
}

/** A draw of a gamma distribution of scale 1 (Marsaglia and Tsang 2000). */
function gamma(shape: number, random: SeededRandom): number {
  if (shape < 1) return gamma(shape + 1, random) * random.uniform() ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  while (true) {
    const x = random.normal();
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(random.uniform()) < x * x / 2 + d - d * v + d * Math.log(v)) {
      return d * v;
    }
  }
}
