import { assert, assertEquals, assertThrows } from "@std/assert";
import { alignDown } from "../../src/base/math.ts";
import type { BlockCopy } from "../../src/core/batch.ts";
import { type CacheSpec, liveRange, NO_BLOCK } from "../../src/core/cache_group.ts";
import type { EvictionPolicyName } from "../../src/core/engine_config.ts";
import { RequestError } from "../../src/core/errors.ts";
import type { SequenceId } from "../../src/core/ids.ts";
import { BlockManager } from "../../src/kvcache/block_manager.ts";
import type { BlockKey } from "../../src/kvcache/prefix/block_key.ts";
import { type EncoderInput, scopeWithInputs } from "../../src/kvcache/tables/encoder_inputs.ts";
import { childNode, emptyPrefix, extend, type Prefix, rootNode } from "./block_keys.ts";
import { KvDevice } from "./kv_device.ts";
import { KEY_SPACE } from "./scheduler_rig.ts";

/** Placeholders of each input. */
const NUM_PLACEHOLDERS = 2;

/** The sizes of a rig. */
export interface GroupRigOptions {
  readonly groups: readonly CacheSpec[];
  readonly blocksPerSlab: readonly number[];
  readonly numBlocks: number;
  readonly blockSize: number;
  readonly maxInFlightTokens: number;
  readonly policy: EvictionPolicyName;
}

/** A sequence as the rig knows it. */
interface Sequence {
  readonly id: SequenceId;
  readonly scope: string;
  /** Read-only, and other ones whenever a token is added. */
  tokens: Uint32Array;
  /** Its first 0, 1, ... tokens, with what inputs make of them. */
  readonly prefixes: Prefix[];
  readonly inputs: readonly EncoderInput[];
  /** Those whose output is still to be computed. */
  readonly missing: Set<string>;
  /** Where chunks are to end. */
  readonly chunkEnds: readonly number[];
  numComputed: number;
  /** Tokens of the whole blocks whose keys are known. */
  numNamed: number;
}

/**
 * A manager with any groups, a device that knows what each block holds, and a plain account of what
 * is cached, folded from events. After every operation all of them are compared.
 */
export class KvGroupRig {
  readonly manager: BlockManager;
  readonly #options: GroupRigOptions;
  readonly #device: KvDevice;
  readonly sequences: Sequence[] = [];
  /** Per group, the cached blocks by all tokens up to their ends, and inputs by their names. */
  readonly #cached: Set<Prefix | string>[];
  readonly #contents = new Map<BlockKey, Prefix | string>();
  /** By scope and inputs. */
  readonly #empty = new Map<string, Prefix>();
  readonly #log: unknown[] = [];
  #copies: BlockCopy[] = [];
  #nextId = 0;
  #numEvents = 0;
  numHits = 0;
  numFailures = 0;
  numMoves = 0;
  numForks = 0;
  numSnapshots = 0;
  /** Inputs found in a group, and computed. */
  numInputHits = 0;
  numInputMisses = 0;

  constructor(options: GroupRigOptions) {
    this.#options = options;
    this.#device = new KvDevice(options.groups, options.blockSize);
    this.#cached = options.groups.map(() => new Set());
    this.manager = new BlockManager({
      ...options,
      numWatermarkBlocks: 0,
      onDecision: (decision) => this.#log.push(decision),
      prefixCache: {
        keySpace: KEY_SPACE,
        policy: options.policy,
        now: () => 0,
        listener: {
          stored: ({ key, group }) => {
            this.#numEvents++;
            const content = this.#contents.get(key);
            assert(content !== undefined, "a key that no tokens have");
            const isNew = !this.#cached[group]!.has(content);
            assert(isNew, isNew ? "" : `${key} is stored twice in group ${group}`);
            this.#cached[group]!.add(content);
          },
          removed: ({ keys, group }) => {
            this.#numEvents++;
            for (const key of keys) {
              const isThere = this.#cached[group]!.delete(this.#contents.get(key)!);
              assert(isThere, isThere ? "" : `${key} is not in group ${group}`);
            }
          },
          used: () => {},
          cleared: () => this.#cached.forEach((contents) => contents.clear()),
        },
      },
    });
  }

  /** Whether sequences can have inputs. */
  get hasEncoder(): boolean {
    return this.#options.groups.some(({ kind }) => kind === "encoder");
  }

  /** What has happened so far, and the tables as they are. */
  get history(): unknown[] {
    return [...this.#log, ...this.sequences.map(({ id }) => this.manager.blockTables(id))];
  }

  /**
   * Blocks in use, cached and free, in every way they are counted, and whether anything happened.
   */
  get #state(): unknown[] {
    const { numFree, numIdle, numEvicted, numReset, numSequences } = this.manager;
    const tables = this.sequences.flatMap(({ id }) => this.manager.blockTables(id));
    return [numFree, numIdle, numEvicted, numReset, numSequences, this.#numEvents, ...tables];
  }

  /** Asserts that nothing has happened since `before`: no event, and the very same lists. */
  #checkUnchanged(before: readonly unknown[], what: string): void {
    const after = this.#state;
    const isSame = after.length === before.length && after.every((each, i) => each === before[i]);
    assert(isSame, what);
  }

  admit(
    tokens: readonly number[],
    scope: string,
    inputs: readonly EncoderInput[] = [],
  ): Sequence | undefined {
    const all = new Uint32Array(tokens);
    const prefixes = this.#prefixesOf(tokens, scope, inputs);
    const expected = this.#expectedHit(prefixes);
    const numCached = this.manager.numTokensCached(all, scope, inputs);
    if (numCached !== expected) assertEquals(numCached, expected, `hit of ${tokens}`);
    const id = this.#nextId++;
    const options = { scope, inputs };
    const hasRoom = this.manager.numMissingToAdmit(all, options) === 0;
    const missing = this.#expectedMissing(scope, inputs, expected);
    const admission = this.#attempt(() => this.manager.tryAdmit(id, all, options));
    assertEquals(admission !== undefined, hasRoom, "as was foretold");
    if (admission === undefined) return undefined;
    const { numCachedTokens, copies, chunkEnds, missingInputs } = admission;
    // One that is alone may do without, where what it finds is spread over too many slabs, or is a
    // state for which there is no room beside its own.
    const { groups, blocksPerSlab } = this.#options;
    const mayDoWithout = this.sequences.length === 0 &&
      (blocksPerSlab.some((n) => n > 1) || groups.some(({ kind }) => kind === "state"));
    if (!(mayDoWithout && numCachedTokens === 0)) assertEquals(numCachedTokens, expected);
    if (!mayDoWithout) assertEquals([...missingInputs].sort(), missing, "missing inputs");
    if (numCachedTokens > 0) this.numHits++;
    this.numInputMisses += missingInputs.length;
    this.numInputHits += inputs.length - missingInputs.length;
    const numComputed = numCachedTokens;
    const sequence = { id, scope, tokens: all, prefixes, inputs, chunkEnds, numComputed };
    return this.#begin({ ...sequence, missing: new Set(missingInputs) }, copies);
  }

  /** Forks a sequence, which has computed all but the fork's last token. */
  fork(source: Sequence, numShared: number, next: number): void {
    if (numShared < 1 || numShared > source.numComputed) return;
    this.#flush();
    if (!this.manager.canFork(source.id, numShared)) {
      const isFull = this.#options.groups.every(({ kind }) => kind === "full");
      const isMade = source.missing.size === 0;
      assert(
        !isMade || (!isFull && numShared < source.numComputed),
        "all that was just computed is there",
      );
      return;
    }
    const id = this.#nextId++;
    const fork = { source: source.id, numTokens: numShared + 1, numShared };
    const { scope } = source;
    const admission = this.#attempt(() => this.manager.tryFork(id, fork, { scope }));
    if (admission === undefined) return;
    this.numForks++;
    const tokens = withToken(source.tokens.subarray(0, numShared), next);
    const prefixes = source.prefixes.slice(0, numShared + 1);
    prefixes.push(extend(prefixes[numShared]!, next, this.#options.blockSize));
    const { copies, chunkEnds } = admission;
    assertEquals([admission.missingInputs, source.missing.size], [[], 0]);
    const { inputs } = source;
    const forked = { id, scope, tokens, prefixes, inputs, missing: new Set<string>(), chunkEnds };
    this.#begin({ ...forked, numComputed: numShared }, copies);
  }

  /** Computes up to `count` more tokens of a sequence in a step of its own. */
  compute(sequence: Sequence, count: number, next: number): void {
    const { id, tokens, prefixes, numComputed: start } = sequence;
    const stop = sequence.chunkEnds.find((position) => position > start) ?? Infinity;
    const numLeft = Math.min(tokens.length, stop) - start;
    const end = start + Math.min(count, numLeft, this.#options.maxInFlightTokens);
    if (!this.#attempt(() => this.manager.tryExtend(id, end) || undefined)) return;
    const snapshots = this.manager.takeCopies();
    this.numSnapshots += snapshots.length;
    this.#device.copy([...this.#copies, ...snapshots]);
    this.#copies = [];
    const made = this.#encode(sequence, end);
    this.#device.compute(prefixes, start, end, this.manager.blockTables(id));
    this.#readInputs(sequence, start, end);
    this.manager.markCopied();
    sequence.numComputed = end;
    for (const key of made) this.manager.publishInput(id, key);
    this.manager.markComputed(id, tokens, end);
    if (end < tokens.length) return;
    sequence.tokens = withToken(tokens, next);
    prefixes.push(extend(prefixes[end]!, next, this.#options.blockSize));
    this.#learnKeys(sequence);
  }

  /** No sequence ends between its admission and the step that this leads to. */
  free(sequence: Sequence, reason: "free" | "preempt"): void {
    this.#flush();
    this.manager.free(sequence.id, reason);
    this.sequences.splice(this.sequences.indexOf(sequence), 1);
  }

  discard(sequence: Sequence, numSound: number): void {
    this.#flush();
    this.manager.discard(sequence.id, sequence.tokens, numSound);
    this.sequences.splice(this.sequences.indexOf(sequence), 1);
  }

  pin(name: string, tokens: readonly number[]): void {
    try {
      this.manager.pins!.pin(name, "", new Uint32Array(tokens));
    } catch (error) {
      assert(error instanceof RequestError, `${error}`);
    }
  }

  resize(numBlocks: number): void {
    this.#flush();
    const before = this.#state;
    if (numBlocks < this.manager.numInUse || !this.manager.pins!.fits(numBlocks)) {
      assertThrows(() => this.manager.resize(numBlocks), RequestError);
      this.#checkUnchanged(before, "a refusal has changed something");
      return;
    }
    const { moves } = this.manager.resize(numBlocks);
    this.numMoves += moves.length;
    this.#device.resize(moves, this.#options.blocksPerSlab.map((count) => count * numBlocks));
    assertEquals(this.manager.numBlocks, numBlocks);
  }

  /** Ends everything: nothing is in use then; and nothing is left once the cache is cleared. */
  drain(): void {
    for (const sequence of [...this.sequences]) this.free(sequence, "free");
    this.manager.pins!.removeAll();
    this.#flush();
    this.check();
    assertEquals(this.manager.numInUse, 0);
    this.manager.clearCache();
    this.check();
    assertEquals(this.manager.numFree, this.manager.numBlocks);
  }

  check(): void {
    this.manager.checkIntegrity();
    const { numFree, numIdle, numInUse, numBlocks } = this.manager;
    assert(numInUse >= 0 && numFree + numIdle + numInUse === numBlocks);
    for (const sequence of this.sequences) this.#checkTables(sequence);
  }

  /** The longest length at which every group has all it needs, tried one by one. */
  #expectedHit(prefixes: readonly Prefix[]): number {
    const { groups, blockSize } = this.#options;
    const numTokens = prefixes.length - 1;
    for (let length = alignDown(numTokens - 1, blockSize); length > 0; length -= blockSize) {
      const isValid = groups.every((cache, group) => {
        const cached = this.#cached[group]!;
        const { numSinkBlocks, start, end } = liveRange(cache, length, blockSize);
        for (let i = 0; i < end; i++) {
          const isLive = i < numSinkBlocks || i >= start;
          if (isLive && !cached.has(prefixes[(i + 1) * blockSize]!)) return false;
        }
        return cache.kind !== "full" || cached.has(prefixes[length]!);
      });
      if (isValid) return length;
    }
    return 0;
  }

  /** The first 0, 1, ... all of `tokens`. */
  #prefixesOf(
    tokens: readonly number[],
    scope: string,
    inputs: readonly EncoderInput[],
  ): Prefix[] {
    const name = namedScope(scope, inputs);
    let prefix = this.#empty.get(name);
    if (prefix === undefined) {
      prefix = emptyPrefix(scopeWithInputs(scope, inputs));
      this.#empty.set(name, prefix);
    }
    const prefixes = [prefix];
    for (const token of tokens) {
      prefix = extend(prefix, token, this.#options.blockSize);
      prefixes.push(prefix);
    }
    return prefixes;
  }

  /** The inputs whose output some group lacks which a sequence reads that starts there. */
  #expectedMissing(scope: string, inputs: readonly EncoderInput[], numCached: number): string[] {
    const missing = inputs.filter(({ key, numTokens }) =>
      numTokens > 0 && this.#options.groups.some((cache, group) => {
        if (cache.kind !== "encoder" || this.#cached[group]!.has(inputName(scope, key))) {
          return false;
        }
        return cache.lifetime === "sequence" || lastPlaceholder(inputs, key) > numCached;
      })
    );
    return [...new Set(missing.map(({ key }) => key))].sort();
  }

  /** Computes the outputs that the positions before `end` are the first to read. */
  #encode({ id, inputs, missing }: Sequence, end: number): string[] {
    const made: string[] = [];
    for (const { key, numTokens, placeholderEnd } of inputs) {
      if (!missing.has(key) || placeholderEnd - NUM_PLACEHOLDERS >= end) continue;
      this.#options.groups.forEach(({ kind }, group) => {
        if (kind !== "encoder") return;
        const blocks = this.manager.inputBlocks(id, group, key);
        // What another sequence has made is not written again: the content is the same.
        if (blocks !== undefined) this.#device.encode(group, key, numTokens, blocks);
      });
      missing.delete(key);
      made.push(key);
    }
    return made;
  }

  /** Reads the outputs that positions `[start, end)` do. */
  #readInputs({ id, inputs }: Sequence, start: number, end: number): void {
    for (const { key, numTokens, placeholderEnd } of inputs) {
      this.#options.groups.forEach((cache, group) => {
        if (cache.kind !== "encoder" || placeholderEnd - NUM_PLACEHOLDERS >= end) return;
        if (cache.lifetime === "placeholders" && placeholderEnd <= start) return;
        const blocks = this.manager.inputBlocks(id, group, key);
        assert(blocks !== undefined, `input ${key} of group ${group} is gone`);
        this.#device.readInput(group, key, numTokens, blocks);
      });
    }
  }

  #begin(begun: Omit<Sequence, "numNamed">, copies: readonly BlockCopy[]): Sequence {
    const { scope, inputs } = begun;
    for (const { key } of inputs) {
      this.#contents.set(childNode(rootNode(scope), [], [key]).key, inputName(scope, key));
    }
    const sequence: Sequence = { ...begun, numNamed: 0 };
    this.sequences.push(sequence);
    this.#learnKeys(sequence);
    this.#copies.push(...copies);
    return sequence;
  }

  /** Learns the keys of the whole blocks that a sequence has come to since it was last asked for. */
  #learnKeys(sequence: Sequence): void {
    const { blockSize } = this.#options;
    const { prefixes } = sequence;
    let end = sequence.numNamed + blockSize;
    for (; end < prefixes.length; end += blockSize) {
      this.#contents.set(prefixes[end]!.block.key, prefixes[end]!);
    }
    sequence.numNamed = end - blockSize;
  }

  /** Carries out the copies of admissions, as a step does that computes something else. */
  #flush(): void {
    this.#device.copy(this.#copies);
    this.#copies = [];
    this.manager.markCopied();
  }

  /** Tables have what the next step reads, and no more than the sequence may hold. */
  #checkTables({ id, numComputed }: Sequence): void {
    const tables = this.manager.blockTables(id);
    this.#options.groups.forEach((cache, group) => {
      if (cache.kind === "state") return assertEquals(tables[group]!.length, 1);
      if (cache.kind === "encoder") return this.#checkInputs(id, group);
      const range = liveRange(cache, numComputed, this.#options.blockSize);
      tables[group]!.forEach((block, i) => {
        const isRead = i < range.numSinkBlocks || i >= range.start;
        if (isRead === (block !== NO_BLOCK)) return;
        throw new Error(`block ${i} of group ${group} at ${numComputed} is read: ${isRead}`);
      });
    });
  }

  /** A sequence has the blocks of an input as long as something reads it, and all of them. */
  #checkInputs(id: SequenceId, group: number): void {
    const { inputs, numComputed } = this.sequences.find((sequence) => sequence.id === id)!;
    const cache = this.#options.groups[group]!;
    for (const { key, numTokens } of inputs) {
      const isOver = cache.kind === "encoder" && cache.lifetime === "placeholders" &&
        lastPlaceholder(inputs, key) <= numComputed;
      const blocks = this.manager.inputBlocks(id, group, key) ?? [];
      const numBlocks = isOver ? 0 : Math.ceil(numTokens / this.#options.blockSize);
      assertEquals(blocks.length, numBlocks, `input ${key} of group ${group} at ${numComputed}`);
    }
  }

  /** Asserts that a call which fails leaves everything as it was. */
  #attempt<T>(call: () => T | undefined): T | undefined {
    const before = this.#state;
    const result = call();
    if (result === undefined) {
      this.#checkUnchanged(before, "a failed call has changed something");
      this.numFailures++;
    }
    return result;
  }
}

function withToken(tokens: Uint32Array, token: number): Uint32Array {
  const longer = new Uint32Array(tokens.length + 1);
  longer.set(tokens);
  longer[tokens.length] = token;
  return longer;
}

/** Where the last placeholder of an input ends. */
function lastPlaceholder(inputs: readonly EncoderInput[], key: string): number {
  return Math.max(...inputs.filter((input) => input.key === key).map((i) => i.placeholderEnd));
}

/** A scope, and which inputs are read where. */
function namedScope(scope: string, inputs: readonly EncoderInput[]): string {
  const read = inputs.map(({ key, placeholderEnd }) => `${key} before ${placeholderEnd}`);
  return [scope, ...read].join(", ");
}

/** Names the output for an input in a scope. */
function inputName(scope: string, key: string): string {
  return `${scope}: input ${key}`;
}
