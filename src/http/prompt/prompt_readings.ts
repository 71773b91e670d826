import type { TokenScore } from "../../core/batch.ts";
import { RequestError } from "../../core/errors.ts";
import type { PromptReadout, PromptReport } from "../../core/prompt_readout.ts";
import type { Job } from "../answer/job.ts";
import { completionLogprobs, finiteLogprob } from "../openai/openai_logprobs.ts";
import { numTokensOf } from "./prompt_field.ts";
import type { ScoredToken, TextPiece } from "../answer/sequence_text.ts";
import type { TextPort } from "../text_port.ts";

type Vocabulary = Pick<TextPort, "tokenText" | "tokenBytes" | "createDetokenizer">;

/** A prompt of a request whose log-probabilities are asked for. */
export interface ReadPrompt {
  readonly tokens: Uint32Array;
  /** Its text as it is echoed; absent where it is not. */
  readonly text?: string;
}

/** How a request asks for the log-probabilities of its prompts. */
export interface PromptLogprobsOptions {
  /** Likeliest tokens per position in the answer's `logprobs`, which `echo` puts before its own. */
  readonly echoed?: number;
  /** The same in `prompt_logprobs`, vLLM's field. */
  readonly listed?: number;
}

/** What the engine is to read of a prompt for it; undefined for nothing. */
export function readoutOf({ echoed, listed }: PromptLogprobsOptions): PromptReadout | undefined {
  if ((echoed ?? listed) === undefined) return undefined;
  return { numLogprobs: Math.max(echoed ?? 0, listed ?? 0) };
}

/** Most log-probabilities of prompts in one answer: some hundred bytes each until it is sent. */
const MAX_SCORES = 2 ** 20;

/**
 * Refuses prompts whose log-probabilities are more than one answer may hold.
 *
 * @throws {RequestError} with the numbers.
 */
export function checkNumScores(
  prompts: readonly Uint32Array[],
  options: PromptLogprobsOptions,
): void {
  const numLogprobs = readoutOf(options)?.numLogprobs;
  if (numLogprobs === undefined) return;
  const numTokens = numTokensOf(prompts);
  const numScores = numTokens * (numLogprobs + 1);
  if (numScores <= MAX_SCORES) return;
  const param = options.listed === undefined ? "logprobs" : "prompt_logprobs";
  throw new RequestError(
    `${param} of ${numTokens} prompt tokens, ${
      numLogprobs + 1
    } for each, are ${numScores}, but an ` +
      `answer holds at most ${MAX_SCORES}: send fewer prompts`,
    { code: "invalid_value", param, details: { n_logprobs: numScores, limit: MAX_SCORES } },
  );
}

/**
 * Parallel arrays as `choices[].logprobs` of completions has them; the first prompt token has none.
 */
export interface CompletionLogprobs {
  readonly tokens: readonly string[];
  readonly token_logprobs: readonly (number | null)[];
  readonly top_logprobs: readonly (Readonly<Record<string, number>> | null)[];
  readonly text_offset: readonly number[];
}

/**
 * The log-probabilities of the prompts of one request, as they come with the first sample of each,
 * in the shapes of OpenAI and vLLM. Each is computed as it is asked for, and not kept.
 */
export class PromptReadings {
  readonly #vocabulary: Vocabulary;
  readonly #prompts: readonly ReadPrompt[];
  readonly #numSamples: number;
  readonly #reports: (PromptReport | undefined)[] = [];

  /** @param numSamples sequences per prompt, in the order of the prompts. */
  constructor(vocabulary: Vocabulary, prompts: readonly ReadPrompt[], numSamples: number) {
    this.#vocabulary = vocabulary;
    this.#prompts = prompts;
    this.#numSamples = numSamples;
  }

  /** Takes note of what a piece brings. */
  observe({ index, prompt }: TextPiece): void {
    if (prompt !== undefined) this.#reports[this.#promptOf(index)] = prompt;
  }

  /** The prompt of sequence `index`, to stand before its answer; undefined if it was never read. */
  echoed(index: number, numLogprobs: number): CompletionLogprobs | undefined {
    const { tokens, text = "" } = this.#prompts[this.#promptOf(index)]!;
    const scores = this.#reports[this.#promptOf(index)]?.scores;
    if (scores === undefined) return undefined;
    const offsets = this.#offsets(tokens, text.length);
    const scored = scores.map((score, i): ScoredToken => ({
      ...score,
      topLogprobs: score.topLogprobs.slice(0, numLogprobs),
      textOffset: offsets[i + 1]!,
    }));
    const rest = completionLogprobs(this.#vocabulary, scored);
    return {
      tokens: [this.#vocabulary.tokenText(tokens[0]!), ...rest.tokens],
      token_logprobs: [null, ...rest.token_logprobs],
      top_logprobs: [null, ...rest.top_logprobs],
      text_offset: [0, ...rest.text_offset],
    };
  }

  /**
   * `prompt_logprobs` of the prompt of sequence `index`, by token id; null if it was never read.
   */
  listed(index: number, numLogprobs: number) {
    const scores = this.#reports[this.#promptOf(index)]?.scores;
    if (scores === undefined) return null;
    return [null, ...scores.map((score) => this.#byId(score, numLogprobs))];
  }

  #promptOf(index: number): number {
    return Math.floor(index / this.#numSamples);
  }

  /**
   * Where the text of each token begins; what the text lacks, a beginning of sequence, has none.
   */
  #offsets(tokens: Uint32Array, numChars: number): number[] {
    const options = { skipSpecialTokens: false, continuesText: true };
    const detokenizer = this.#vocabulary.createDetokenizer(options);
    let at = 0;
    const starts = Array.from(tokens, (token) => {
      const start = at;
      at += detokenizer.push([token]).length;
      return start;
    });
    const numExtra = Math.max(0, at + detokenizer.flush().length - numChars);
    return starts.map((start) => Math.max(0, start - numExtra));
  }

  #byId({ token, logprob, topLogprobs }: TokenScore, numLogprobs: number) {
    const top = topLogprobs.slice(0, numLogprobs).map((one, i) => ({ ...one, rank: i + 1 }));
    const isAmongThem = top.some((one) => one.token === token);
    // vLLM's own rank of a token further down is not known here.
    const all = isAmongThem ? top : [{ token, logprob, rank: null }, ...top];
    return Object.fromEntries(all.map((one) => [String(one.token), {
      logprob: finiteLogprob(one.logprob),
      rank: one.rank,
      decoded_token: this.#vocabulary.tokenText(one.token),
    }]));
  }
}

/** A chat whose answer has vLLM's `prompt_logprobs` of its one prompt beside `choices`. */
export function withPromptLogprobs(job: Job, text: Vocabulary, listed: number): Job {
  const { choiceWriter, prompts, sequences: [first, ...others] } = job;
  checkNumScores(prompts, { listed });
  // All sequences are samples of it; one reads it for all of them.
  const readings = new PromptReadings(text, [{ tokens: prompts[0]! }], Infinity);
  const readout = readoutOf({ listed })!;
  return {
    ...job,
    sequences: [{ ...first!, readout }, ...others],
    choiceWriter: {
      ...choiceWriter,
      observe: (piece) => {
        readings.observe(piece);
        choiceWriter.observe?.(piece);
      },
      wholeFields: () => ({
        ...choiceWriter.wholeFields?.(),
        prompt_logprobs: readings.listed(0, listed),
      }),
    },
  };
}
