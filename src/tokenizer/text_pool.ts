import { EngineUnavailableError, RequestError } from "../core/errors.ts";
import type { ModelFiles } from "../core/model_json.ts";
import type { EncodeOptions } from "./encoder.ts";
import { runTextTask, type TextLimits, type TextOutcome, type TextTask } from "./text_tasks.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { type HostProblem, WorkerHost } from "./worker_host.ts";
import type { HostedWorker } from "./worker_messages.ts";
import { TurnBudget } from "./turn_budget.ts";
import { WorkerLanes } from "./worker_lanes.ts";

/** Settings of a {@link TextPool}; the defaults are meant for serving. */
export interface TextPoolOptions {
  /** Time for one request's texts, ms, counted from when a Worker has them. */
  readonly tokenizeDeadlineMs?: number;
  /** Most UTF-16 code units of one request's texts together. */
  readonly maxTextChars?: number;
  /** Characters, or token ids, that this isolate handles in one turn of its event loop. */
  readonly maxInline?: number;
  readonly spawnTokenizer?: () => HostedWorker<ModelFiles, TextTask, TextOutcome>;
}

const DEADLINE_MS = 10_000;

/** Twice what the longest contexts of today hold; what a body of 8 MiB can bring. */
const MAX_TEXT_CHARS = 2 ** 23;

/** Some ten milliseconds of work at most; most prompts are shorter. */
const MAX_INLINE = 4096;

/** Enough for a vocabulary of 35 MB on a busy machine. */
const LOAD_DEADLINE_MS = 60_000;

/** Characters that a token has on average, to compare runs of ids with texts. */
const CHARS_PER_ID = 4;

/**
 * Tokenizes and detokenizes for requests without holding up the isolate that answers them: a few
 * thousand characters are handled here, those of many requests in several turns of the event loop;
 * longer texts go to one of two Workers, by length. A Worker loads the tokenizer at its first task:
 * with 150,000 tokens that takes a second or two and 130 to 190 MB, with 32,000 half a second and
 * 80 MB.
 */
export class TextPool {
  readonly #tokenizer: Tokenizer;
  readonly #lanes: WorkerLanes<ModelFiles, TextTask, TextOutcome>;
  readonly #limits: TextLimits;
  readonly #maxInline: number;
  readonly #turns: TurnBudget;

  /** @param files those that `tokenizer` was loaded from. */
  constructor(files: ModelFiles, tokenizer: Tokenizer, options: TextPoolOptions = {}) {
    const spawn = options.spawnTokenizer ?? spawnWorker;
    this.#tokenizer = tokenizer;
    this.#lanes = new WorkerLanes(() =>
      new WorkerHost(files, { spawn, loadDeadlineMs: LOAD_DEADLINE_MS })
    );
    this.#limits = {
      deadlineMs: options.tokenizeDeadlineMs ?? DEADLINE_MS,
      maxChars: options.maxTextChars ?? MAX_TEXT_CHARS,
    };
    this.#maxInline = options.maxInline ?? MAX_INLINE;
    this.#turns = new TurnBudget(this.#maxInline);
  }

  /**
   * Ids of each text of a request, all within one deadline.
   *
   * @throws {RequestError} 400 when the texts are too long together or take too long, 429 when too
   * many others wait.
   * @throws {EngineUnavailableError} when the Worker ended or the server is stopping.
   */
  async encode(
    texts: readonly string[],
    options: Omit<EncodeOptions, "onProgress"> = {},
  ): Promise<readonly Uint32Array[]> {
    const numChars = sumLengths(texts);
    checkLength(numChars, this.#limits.maxChars);
    const task: TextTask = { type: "encode", texts, options, limits: this.#limits };
    const outcome = await this.#run(task, numChars, numChars);
    if (outcome.type === "encoded") return outcome.ids;
    throw toError(`Tokenizing ${numChars} characters`, outcome);
  }

  /**
   * Text of each run of ids of a request, special tokens written out, all within one deadline.
   *
   * @throws as {@link TextPool.encode}; the limit on characters is on the texts made.
   */
  async decode(batch: readonly Iterable<number>[]): Promise<readonly string[]> {
    const arrays = batch.map((ids) => Uint32Array.from(ids));
    const numIds = sumLengths(arrays);
    const task: TextTask = { type: "decode", batch: arrays, limits: this.#limits };
    const outcome = await this.#run(task, numIds, numIds * CHARS_PER_ID);
    if (outcome.type === "decoded") return outcome.texts;
    throw toError(`Detokenizing ${numIds} tokens`, outcome);
  }

  /** Ends the Workers; tasks under way and waiting fail. Idempotent. */
  close(): void {
    this.#lanes.close();
    this.#turns.close();
  }

  async #run(task: TextTask, size: number, numChars: number): Promise<TextOutcome | HostProblem> {
    if (size > this.#maxInline) return await this.#lanes.run(task, numChars);
    await this.#turns.take(size);
    return runTextTask(this.#tokenizer, task);
  }
}

function checkLength(numChars: number, maxChars: number): void {
  if (numChars <= maxChars) return;
  throw new RequestError(
    `The texts of a request may have at most ${maxChars} characters together, got ${numChars}`,
    { code: "text_too_long", details: { n_chars: numChars, max_chars: maxChars } },
  );
}

function sumLengths(items: readonly { readonly length: number }[]): number {
  return items.reduce((sum, { length }) => sum + length, 0);
}

function toError(what: string, { type, ...rest }: TextOutcome | HostProblem): Error {
  const message = "message" in rest ? rest.message : type;
  if (type === "stopping") return new EngineUnavailableError(message);
  if (type === "busy") {
    return new RequestError(message, { status: 429, type: "rate_limit_error", code: "overloaded" });
  }
  if (type === "limit") return new RequestError(`${what} ${message}`, { code: "text_limit" });
  return new EngineUnavailableError(`${what} failed, please try again: ${message}`);
}

function spawnWorker(): Worker {
  return new Worker(new URL("./tokenizer_worker.ts", import.meta.url), { type: "module" });
}
