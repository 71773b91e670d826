import { SeededRandom } from "../../src/base/seeded_random.ts";
import { randomWords, type WordCount, wordsFor } from "../../src/client/words.ts";
import { LENGTH_DISTRIBUTIONS, sampleLengths } from "../../src/plan/request_lengths.ts";

/** Context of the models that the lengths of the data set were made for. */
const FULL_CONTEXT = 2048;

/** A request of a load. */
export interface ServedRequest {
  readonly prompt: string;
  /** Tokens of its prompt, about, and of its answer, exactly. */
  readonly promptLen: number;
  readonly outputLen: number;
}

/** What a load is made of. */
export interface ServingLoad {
  readonly numRequests: number;
  /** Most tokens of a request; lengths shrink along with it. */
  readonly contextLen: number;
  readonly seed: number;
  readonly words: WordCount;
  /** System prompts before the requests, taken in turns. */
  readonly shared?: { readonly numPrompts: number; readonly length: number };
}

/** ShareGPT-like requests that fit into a context, the same for the same seed; no two are alike. */
export function servingLoad(load: ServingLoad): ServedRequest[] {
  const { numRequests, contextLen, seed, words, shared } = load;
  const [shape] = LENGTH_DISTRIBUTIONS;
  const scale = contextLen / FULL_CONTEXT;
  const random = new SeededRandom(seed);
  const text = (numTokens: number) => randomWords(random, wordsFor(numTokens, words));
  const systems = Array.from({ length: shared?.numPrompts ?? 0 }, () => text(shared!.length));
  const systemLen = shared?.length ?? 0;
  const scaled = {
    ...shape!,
    meanPromptLen: shape!.meanPromptLen * scale,
    meanOutputLen: shape!.meanOutputLen * scale,
  };
  // What a text has more tokens than its words were counted for must fit as well.
  const limit = contextLen * 0.9 - systemLen;
  return sampleLengths(scaled, { numRequests: 4 * numRequests, seed })
    .filter(({ promptLen, outputLen }) => promptLen + outputLen <= limit)
    .slice(0, numRequests)
    .map(({ promptLen, outputLen }, i) => ({
      prompt: [...systems.slice(i % Math.max(1, systems.length)).slice(0, 1), text(promptLen)]
        .join(" "),
      promptLen: systemLen + promptLen,
      outputLen,
    }));
}
