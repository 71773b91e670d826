import { StartupError } from "../core/errors.ts";
import { SeededRandom } from "../base/seeded_random.ts";

/** One request: tokens of its prompt and tokens it generates, each at least 1. */
export interface RequestLengths {
  readonly promptLen: number;
  readonly outputLen: number;
}

/** How long the requests of some traffic are: log-normal prompts and outputs, independent. */
export interface LengthDistribution {
  readonly name: string;
  readonly meanPromptLen: number;
  readonly meanOutputLen: number;
  /** Deviations of the lengths' logarithms. */
  readonly promptSigma: number;
  readonly outputSigma: number;
}

/**
 * Traffic of the two data sets that PagedAttention was measured on, by their published mean lengths
 * (Kwon et al. 2023, arXiv:2309.06180, section 6.1). The deviations are estimates.
 */
export const LENGTH_DISTRIBUTIONS: readonly LengthDistribution[] = [
  {
    name: "sharegpt-like",
    meanPromptLen: 161,
    meanOutputLen: 338,
    promptSigma: 1.1,
    outputSigma: 0.9,
  },
  {
    name: "alpaca-like",
    meanPromptLen: 19,
    meanOutputLen: 58,
    promptSigma: 1.1,
    outputSigma: 0.9,
  },
];

/** Draws `numRequests` requests; the same for the same seed. */
export function sampleLengths(
  distribution: LengthDistribution,
  { numRequests, seed }: { readonly numRequests: number; readonly seed: number },
): RequestLengths[] {
  const random = new SeededRandom(seed);
  const draw = (mean: number, sigma: number) =>
    Math.max(1, Math.round(mean * Math.exp(sigma * random.normal() - sigma ** 2 / 2)));
  return Array.from({ length: numRequests }, () => ({
    promptLen: draw(distribution.meanPromptLen, distribution.promptSigma),
    outputLen: draw(distribution.meanOutputLen, distribution.outputSigma),
  }));
}

/** Most requests read from a file. */
const MAX_REQUESTS = 1_000_000;
/** Longest prompt or output; keeps every sum of products exact enough. */
const MAX_LEN = 16_777_216;

/**
 * Reads one request per line, `PROMPT OUTPUT` in tokens, separated by spaces, a tab or a comma.
 * Empty lines and what follows a `#` do not count.
 *
 * @param file what error messages call it.
 * @throws {StartupError} naming the line and what it must be, or when there is no request.
 */
export function parseLengths(text: string, file: string): RequestLengths[] {
  const requests: RequestLengths[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    const content = line.replace(/#.*/, "").trim();
    if (content === "") continue;
    const [, prompt, output] = /^(\d+)(?:\s*,\s*|\s+)(\d+)$/.exec(content) ?? [];
    const [promptLen, outputLen] = [Number(prompt), Number(output)];
    if (!isLength(promptLen) || !isLength(outputLen)) {
      throw new StartupError(
        `${file}: line ${i + 1} is ${JSON.stringify(content.slice(0, 80))}: must be two integers ` +
          `from 1 to ${MAX_LEN}, tokens of the prompt and of the output`,
      );
    }
    requests.push({ promptLen, outputLen });
    if (requests.length > MAX_REQUESTS) {
      throw new StartupError(`${file} has more than ${MAX_REQUESTS} requests`);
    }
  }
  if (requests.length === 0) throw new StartupError(`${file} has no request`);
  return requests;
}

function isLength(value: number): boolean {
  return value >= 1 && value <= MAX_LEN;
}
