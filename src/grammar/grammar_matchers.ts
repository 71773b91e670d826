import type { CompiledGrammar } from "../core/compiled_grammar.ts";
import { grammarBytes } from "../core/compiled_grammar.ts";
import { type ErrorData, RequestError } from "../core/errors.ts";
import type { TokenMatcher, TokenMatchers } from "../core/token_matcher.ts";
import { restoreMemory } from "./sparse_memory.ts";
import { GrammarLimitError, type NativeMatcher, type NativeObject, XGrammar } from "./xgrammar.ts";

/** Memory of grammars that no sequence uses, kept for the next one; bytes. */
const MAX_IDLE_BYTES = 256 * 2 ** 20;
/** Memory of the grammars in use; bytes. */
const MAX_USED_BYTES = 1024 * 2 ** 20;
/** Time for one token, ms: a thousand times what it takes, since other sequences wait for it. */
const TOKEN_DEADLINE_MS = 1000;
/** Memory that matching may add to a grammar's own. */
const MATCHING_BYTES = 64 * 2 ** 20;

/** Bounds of {@link GrammarMatchers}; tests pass smaller ones. */
export interface MatcherLimits {
  readonly maxIdleBytes?: number;
  readonly maxUsedBytes?: number;
  readonly tokenDeadlineMs?: number;
}

/** One grammar in a memory of its own, with all that match it. */
class GrammarInstance {
  readonly numBytes: number;
  numUsers = 0;
  #failure: ErrorData | undefined;
  readonly #xgrammar: XGrammar;
  readonly #grammar: NativeObject;
  readonly #numWords: number;
  readonly #vocabSize: number;
  readonly #deadlineMs: number;

  constructor(compiled: CompiledGrammar, deadlineMs: number) {
    const { base, changes, address, vocabSize } = compiled;
    const numBytes = changes.numBytes;
    const code = compiled.code as Uint8Array<ArrayBuffer>;
    this.#xgrammar = new XGrammar(code, { numBytes, maxBytes: numBytes + MATCHING_BYTES });
    this.#grammar = this.#xgrammar.handles().grammar;
    restoreMemory(this.#xgrammar.memory, base);
    restoreMemory(this.#xgrammar.memory, changes);
    this.#grammar.$$.ptr = address;
    this.numBytes = grammarBytes(compiled);
    this.#vocabSize = vocabSize;
    this.#numWords = Math.ceil(vocabSize / 32);
    this.#deadlineMs = deadlineMs;
  }

  /** Whether it can match; after a failure, no sequence of it can go on. */
  get isSound(): boolean {
    return this.#failure === undefined;
  }

  /** @throws {RequestError} where the library fails. */
  createMatcher(): NativeMatcher {
    const { binding } = this.#xgrammar;
    return this.#attempt(() => new binding.GrammarMatcher(this.#grammar, undefined, false, 0));
  }

  /** A copy of the tokens that may come next. @throws {RequestError} as above. */
  allowedTokens(matcher: NativeMatcher): Uint32Array {
    return this.#attempt(() => {
      const { binding } = this.#xgrammar;
      const vector = matcher.GetNextTokenBitmask(this.#vocabSize);
      const words = new Uint32Array(this.#numWords);
      words.set(binding.vecIntToView(vector));
      vector.delete();
      // The library allows the ids behind the last one.
      const numLast = this.#vocabSize % 32;
      if (numLast > 0) words[words.length - 1]! &= 2 ** numLast - 1;
      if (words.every((word) => word === 0)) throw new Error("no token can come next");
      return words;
    });
  }

  /** @throws {RequestError} as above, and for a token that may not come next. */
  accept(matcher: NativeMatcher, token: number): void {
    this.#attempt(() => {
      if (!matcher.AcceptToken(token, false)) throw new Error(`token ${token} may not come next`);
    });
  }

  #attempt<T>(call: () => T): T {
    if (this.#failure !== undefined) throw failed(this.#failure.message);
    try {
      return this.#xgrammar.within(this.#deadlineMs, call);
    } catch (error) {
      const reason = error instanceof GrammarLimitError
        ? `one token takes more ${error.message} than allowed`
        : (error as Error).message;
      const failure = failed(`The grammar of this request cannot be followed: ${reason}`);
      this.#failure = failure.data;
      throw failure;
    }
  }
}

function failed(message: string): RequestError {
  return new RequestError(message, { status: 500, type: "server_error", code: "grammar_failed" });
}

/** Follows one sequence. */
class InstanceMatcher implements TokenMatcher {
  allowedTokens: Uint32Array;
  readonly #instance: GrammarInstance;
  readonly #matcher: NativeMatcher;
  readonly #onClose: () => void;
  #isClosed = false;

  constructor(instance: GrammarInstance, onClose: () => void) {
    this.#instance = instance;
    this.#matcher = instance.createMatcher();
    this.#onClose = onClose;
    this.allowedTokens = instance.allowedTokens(this.#matcher);
  }

  accept(token: number): ErrorData | undefined {
    try {
      this.#instance.accept(this.#matcher, token);
      this.allowedTokens = this.#instance.allowedTokens(this.#matcher);
      return undefined;
    } catch (error) {
      if (error instanceof RequestError) return error.data;
      throw error;
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#instance.isSound) this.#matcher.delete();
    this.#onClose();
  }
}

/**
 * Matches tokens in the isolate that draws them: what may come next is known as soon as a token is,
 * without a word to another thread.
 *
 * Each grammar has an instance of the library to itself, whose memory comes from its compilation; a
 * grammar that fails takes only its own sequences along. An instance is made for the first sequence
 * that needs it, in some 10 ms, and kept while there is memory for it.
 */
export class GrammarMatchers implements TokenMatchers {
  readonly #limits: Required<MatcherLimits>;
  /** By key; those used longest ago first. */
  readonly #instances = new Map<string, GrammarInstance>();

  constructor(limits: MatcherLimits = {}) {
    this.#limits = {
      maxIdleBytes: MAX_IDLE_BYTES,
      maxUsedBytes: MAX_USED_BYTES,
      tokenDeadlineMs: TOKEN_DEADLINE_MS,
      ...limits,
    };
  }

  create(grammar: CompiledGrammar): TokenMatcher {
    const instance = this.#instance(grammar);
    const matcher = new InstanceMatcher(instance, () => {
      instance.numUsers--;
      this.#evict();
    });
    instance.numUsers++;
    this.#evict();
    return matcher;
  }

  /** Instances in memory, for tests. */
  get numInstances(): number {
    return this.#instances.size;
  }

  #instance(grammar: CompiledGrammar): GrammarInstance {
    const { key } = grammar;
    const known = this.#instances.get(key);
    this.#instances.delete(key);
    const isUsable = known?.isSound === true;
    if (!isUsable || known.numUsers === 0) this.#checkRoom(grammarBytes(grammar));
    const instance = isUsable ? known : new GrammarInstance(grammar, this.#limits.tokenDeadlineMs);
    this.#instances.set(key, instance);
    return instance;
  }

  #checkRoom(numBytes: number): void {
    const limit = this.#limits.maxUsedBytes;
    const used = this.#bytesOf(({ numUsers }) => numUsers > 0);
    if (used + numBytes <= limit) return;
    throw new RequestError(
      `The grammars in use take ${used >> 20} MiB, and one more of ${numBytes >> 20} MiB is over ` +
        `the limit of ${limit >> 20} MiB`,
      { status: 429, type: "rate_limit_error", code: "overloaded" },
    );
  }

  #evict(): void {
    let idle = this.#bytesOf(({ numUsers }) => numUsers === 0);
    for (const [key, { numUsers, numBytes, isSound }] of this.#instances) {
      if (numUsers > 0 || (isSound && idle <= this.#limits.maxIdleBytes)) continue;
      this.#instances.delete(key);
      idle -= numBytes;
    }
  }

  #bytesOf(counts: (instance: GrammarInstance) => boolean): number {
    return [...this.#instances.values()].filter(counts)
      .reduce((sum, { numBytes }) => sum + numBytes, 0);
  }
}
