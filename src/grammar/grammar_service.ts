import { createHash } from "node:crypto";
import { type CompiledGrammar, grammarBytes } from "../core/compiled_grammar.ts";
import { EngineUnavailableError, RequestError } from "../core/errors.ts";
import type { ModelFiles } from "../core/model_json.ts";
import type { GrammarFormat } from "../core/grammar_format.ts";
import { type HostProblem, WorkerHost } from "../tokenizer/worker_host.ts";
import type { GrammarLoad } from "./compile_worker.ts";
import type { GrammarOutcome, GrammarTask } from "./grammar_compiler.ts";

/** Settings of a {@link GrammarService}; the defaults are meant for serving. */
export interface GrammarServiceOptions {
  /** Time for one compilation, ms. */
  readonly deadlineMs?: number;
  /** Memory of one compilation, the vocabulary included; bytes. */
  readonly maxBytes?: number;
  /** Memory of the grammars that are kept, bytes, and how many outcomes are. */
  readonly maxCachedBytes?: number;
  readonly maxCached?: number;
}

const DEFAULTS: Required<GrammarServiceOptions> = {
  deadlineMs: 5000,
  maxBytes: 512 * 2 ** 20,
  maxCachedBytes: 512 * 2 ** 20,
  maxCached: 256,
};

/** Time to read a vocabulary into a memory, ms. */
const LOAD_DEADLINE_MS = 60_000;
/** Workers, so that a grammar that takes long does not hold up the next one. */
const NUM_WORKERS = 2;

type Host = WorkerHost<GrammarLoad, GrammarTask, GrammarOutcome>;

/**
 * Compiles grammars for a model's vocabulary in Workers, and keeps the latest. The Workers start
 * when the first grammar comes.
 */
export class GrammarService {
  readonly #options: Required<GrammarServiceOptions>;
  readonly #hosts: readonly { readonly host: Host; numTasks: number }[];
  /** Outcomes by key, in the order of their use; also of those that take too long. */
  readonly #outcomes = new Map<string, Promise<GrammarOutcome | HostProblem>>();
  /** Bytes of those that are compiled, by key. */
  readonly #bytes = new Map<string, number>();

  /** @param files the model's, of which the tokenizer's are read. */
  constructor(files: ModelFiles, options: GrammarServiceOptions = {}) {
    this.#options = { ...DEFAULTS, ...options };
    const hostOptions = { spawn: spawnWorker, loadDeadlineMs: LOAD_DEADLINE_MS };
    this.#hosts = Array.from(
      { length: NUM_WORKERS },
      () => ({ host: new WorkerHost({ files }, hostOptions), numTasks: 0 }),
    );
  }

  /**
   * The grammar of a format, compiled or from the cache.
   *
   * @param param the field that asks for it, for refusals.
   * @throws {RequestError} 400 when no grammar holds the format, or it takes too much time or
   * memory; 429 when too many others wait.
   */
  async compile(format: GrammarFormat, param: string): Promise<CompiledGrammar> {
    const outcome = await this.#outcome(format);
    if (outcome.type === "compiled") return outcome.grammar;
    throw toError(outcome, param);
  }

  /** Ends the Workers; compilations under way fail. Idempotent. */
  close(): void {
    for (const { host } of this.#hosts) host.close();
  }

  #outcome(format: GrammarFormat): Promise<GrammarOutcome | HostProblem> {
    const text = JSON.stringify(format);
    const key = createHash("sha256").update(text).digest("hex");
    const known = this.#outcomes.get(key);
    this.#outcomes.delete(key);
    const outcome = known ?? this.#run({ key, format, limits: this.#options }, text.length);
    this.#outcomes.set(key, outcome);
    this.#evict();
    return outcome;
  }

  async #run(task: GrammarTask, numChars: number): Promise<GrammarOutcome | HostProblem> {
    const place = this.#hosts.reduce((best, one) => one.numTasks < best.numTasks ? one : best);
    place.numTasks++;
    const outcome = await place.host.run(task, numChars);
    place.numTasks--;
    if (outcome.type === "compiled") {
      // One that was forgotten meanwhile takes no memory of the cache.
      if (!this.#outcomes.has(task.key)) return outcome;
      this.#bytes.set(task.key, grammarBytes(outcome.grammar));
      this.#evict();
    } else if (outcome.type !== "refused" && outcome.type !== "limit") {
      // Another try may succeed.
      this.#outcomes.delete(task.key);
    }
    return outcome;
  }

  /** Forgets those used longest ago, beyond the limits. */
  #evict(): void {
    const { maxCached, maxCachedBytes } = this.#options;
    let bytes = this.#bytes.values().reduce((sum, one) => sum + one, 0);
    for (const key of this.#outcomes.keys()) {
      if (this.#outcomes.size <= maxCached && bytes <= maxCachedBytes) break;
      this.#outcomes.delete(key);
      bytes -= this.#bytes.get(key) ?? 0;
      this.#bytes.delete(key);
    }
  }
}

function toError(
  { type, message }: HostProblem | Exclude<GrammarOutcome, { type: "compiled" }>,
  param: string,
): Error {
  if (type === "stopping") return new EngineUnavailableError(message);
  if (type === "busy") {
    return new RequestError("Too many grammars wait to be compiled", {
      status: 429,
      type: "rate_limit_error",
      code: "overloaded",
    });
  }
  if (type === "failed") {
    return new RequestError(`The grammar's compiler failed: ${message}`, {
      status: 500,
      type: "server_error",
      code: "grammar_failed",
    });
  }
  const code = type === "limit" ? "grammar_too_large" : "unsupported_grammar";
  return new RequestError(`${param} cannot be enforced: ${message}`, { code, param });
}

/** The Worker has the server's permissions: restricting them needs an unstable flag. */
function spawnWorker(): Worker {
  return new Worker(new URL("./compile_worker.ts", import.meta.url), { type: "module" });
}
