import { assert, assertEquals } from "@std/assert";
import { createHash } from "node:crypto";
import type { EvictionPolicyName } from "../../src/core/engine_config.ts";
import type { SequenceId } from "../../src/core/ids.ts";
import type { KvDecision } from "../../src/core/kv_decision.ts";
import type { Admission } from "../../src/kvcache/admission.ts";
import { BlockManager } from "../../src/kvcache/block_manager.ts";
import { KEY_SPACE } from "./scheduler_rig.ts";

/** Sizes of the pool whose history is recorded: small, so that every limit is met often. */
const NUM_BLOCKS = 48;
const BLOCK_SIZE = 4;
const NUM_WATERMARK_BLOCKS = 1;

/**
 * A generator of numbers that is the same everywhere (an LCG with the constants of Numerical
 * Recipes).
 */
class Draws {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A whole number of `[0, limit)`. */
  below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor(this.#state / 2 ** 32 * limit);
  }
}

/** What the recorder knows of an admitted sequence. */
interface Held {
  readonly id: SequenceId;
  readonly tokens: Uint32Array;
  readonly scope: string;
  numTokens: number;
  numComputed: number;
}

/**
 * Plays a seeded history on a manager with one group of full attention, and folds all that can be
 * seen into one digest: tables, hits, refusals, statistics, events, decisions, copies and moves.
 */
export class ManagerHistory {
  readonly #draws: Draws;
  readonly #manager: BlockManager;
  readonly #hash = createHash("sha256");
  readonly #held: Held[] = [];
  #nextId = 0;
  #now = 0;
  numEvicted = 0;
  numHitTokens = 0;
  numMoves = 0;

  constructor(policy: EvictionPolicyName, seed: number) {
    this.#draws = new Draws(seed);
    const see = (what: unknown) => this.#see(what);
    this.#manager = new BlockManager({
      numBlocks: NUM_BLOCKS,
      blockSize: BLOCK_SIZE,
      numWatermarkBlocks: NUM_WATERMARK_BLOCKS,
      onDecision: (decision) => see(asTold(decision)),
      prefixCache: {
        keySpace: KEY_SPACE,
        policy,
        now: () => this.#now,
        listener: {
          stored: (block) => see(["stored", { ...block, tokens: [...block.tokens] }]),
          removed: (blocks) => see(["removed", blocks]),
          used: (key) => see(["used", key]),
          cleared: () => see(["cleared"]),
        },
      },
    });
  }

  /** Plays `count` operations, and returns the digest of everything so far. */
  play(count: number): string {
    for (let i = 0; i < count; i++) {
      this.#operate();
      const { numFree, numIdle, numInUse, numEvicted, numReset, numBlocks } = this.#manager;
      this.#see([numFree, numIdle, numInUse, numEvicted, numReset, numBlocks]);
      this.numEvicted = numEvicted;
      if (i % 16 === 0) this.#manager.checkIntegrity();
    }
    return this.#hash.copy().digest("hex").slice(0, 32);
  }

  #operate(): void {
    const pick = this.#draws.below(100);
    const held = this.#held[this.#draws.below(Math.max(1, this.#held.length))];
    if (pick < 25 || held === undefined) this.#admit();
    else if (pick < 32) this.#fork(held);
    else if (pick < 47) this.#extend(held);
    else if (pick < 72) this.#compute(held);
    else if (pick < 88) this.#end(held, pick % 2 === 0 ? "free" : "preempt");
    else if (pick < 90) this.#discard(held);
    else if (pick < 94) this.#pin();
    else if (pick < 96) this.#manager.markCopied();
    else if (pick < 98) this.#resize();
    else if (pick < 99) this.#now += 3;
    else this.#clear();
  }

  /**
   * Prompts over two tokens behind one of three heads, so that most begin alike and part somewhere.
   */
  #prompt(): Uint32Array {
    const head = this.#draws.below(3);
    const length = 1 + this.#draws.below(50);
    const tokens = new Uint32Array(256);
    const numHead = this.#draws.below(length);
    for (let i = 0; i < length; i++) tokens[i] = i < numHead ? head + i : this.#draws.below(2);
    return tokens.subarray(0, length);
  }

  #admit(): void {
    const prompt = this.#prompt();
    const tokens = new Uint32Array(256);
    tokens.set(prompt);
    const id = this.#nextId++;
    const scope = this.#draws.below(5) === 0 ? "salt" : "";
    const priority = this.#draws.below(100);
    const options = {
      scope,
      reserved: [this.#draws.below(2)],
      ...(priority < 40 ? { retention: { priority, durationMs: 5 } } : {}),
    };
    this.#see(this.#manager.numTokensCached(prompt, scope));
    this.#see(this.#manager.numMissingToAdmit(prompt, options));
    const admission = this.#manager.tryAdmit(id, prompt, options);
    this.#see(admission === undefined ? "no room" : asRecorded(admission));
    if (admission === undefined) return;
    const numComputed = admission.numCachedTokens;
    this.numHitTokens += numComputed;
    this.#hold({ id, tokens, scope, numTokens: prompt.length, numComputed });
  }

  #fork(source: Held): void {
    if (source.numComputed === 0) return;
    const numShared = 1 + this.#draws.below(source.numComputed);
    const id = this.#nextId++;
    const isOfRunningGroup = this.#draws.below(2) === 0;
    const fork = { source: source.id, numTokens: numShared + 1, numShared, isOfRunningGroup };
    const { scope } = source;
    const admission = this.#manager.tryFork(id, fork, { scope });
    this.#see(admission === undefined ? "no room" : asRecorded(admission));
    if (admission === undefined) return;
    const tokens = source.tokens.slice();
    tokens[numShared] = this.#draws.below(2);
    this.#hold({ id, tokens, scope, numTokens: numShared + 1, numComputed: numShared });
  }

  #hold(held: Held): void {
    this.#held.push(held);
    this.#seeTable(held);
  }

  #extend(held: Held): void {
    const numTokens = Math.min(250, held.numTokens + 1 + this.#draws.below(9));
    const hasExtended = this.#manager.tryExtend(held.id, numTokens);
    this.#see(hasExtended);
    if (!hasExtended) return;
    for (let i = held.numTokens; i < numTokens; i++) held.tokens[i] = this.#draws.below(2);
    held.numTokens = numTokens;
    this.#seeTable(held);
  }

  #compute(held: Held): void {
    held.numComputed = Math.min(held.numTokens, held.numComputed + 1 + this.#draws.below(24));
    this.#manager.markComputed(held.id, held.tokens, held.numComputed);
  }

  #end(held: Held, reason: "free" | "preempt"): void {
    this.#manager.free(held.id, reason);
    this.#held.splice(this.#held.indexOf(held), 1);
  }

  #discard(held: Held): void {
    const numSound = this.#draws.below(held.numTokens + 1);
    this.#manager.discard(held.id, held.tokens.subarray(0, held.numTokens), numSound);
    this.#held.splice(this.#held.indexOf(held), 1);
  }

  #pin(): void {
    const name = `pin ${this.#draws.below(2)}`;
    const pins = this.#manager.pins!;
    this.#attempt(() =>
      this.#draws.below(3) === 0 ? pins.remove(name) : pins.pin(name, "", this.#prompt())
    );
  }

  #resize(): void {
    const numBlocks = 24 + this.#draws.below(40);
    this.#attempt(() => {
      const { moves, ...resize } = this.#manager.resize(numBlocks);
      this.numMoves += moves.length;
      for (const { from, to } of moves) this.#see([from, to]);
      return resize;
    });
    for (const held of this.#held) this.#seeTable(held);
  }

  #clear(): void {
    for (const held of [...this.#held].reverse()) this.#end(held, "preempt");
    this.#manager.markCopied();
    this.#manager.clearCache();
  }

  #attempt(action: () => unknown): void {
    try {
      this.#see(action());
    } catch (error) {
      this.#see(`${error}`);
    }
  }

  #seeTable({ id }: Held): void {
    this.#see(this.#manager.blockTables(id)[0]!);
  }

  #see(what: unknown): void {
    this.#hash.update(JSON.stringify(what, withoutGroup));
  }
}

/** A decision as it was when waits did not count the watermark among what is left over. */
function asTold(decision: KvDecision): unknown {
  if (decision.type !== "wait" || decision.reason !== "blocks") return decision;
  const { numHeadroomSlabs, ...wait } = decision;
  assert(
    numHeadroomSlabs === undefined || numHeadroomSlabs === NUM_WATERMARK_BLOCKS,
    `${numHeadroomSlabs} are left over`,
  );
  return wait;
}

/**
 * An admission as it was when there was one copy at most, and it had that name, and when nobody
 * asked how long ago blocks were evicted.
 */
function asRecorded(
  { copies, chunkEnds: _, missingInputs, evictedAgoMs, ...admission }: Admission,
): unknown {
  assertEquals(missingInputs, []);
  assertEquals(evictedAgoMs !== undefined, admission.numEvictedTokens > 0);
  return copies.length === 0 ? admission : { ...admission, copy: copies[0] };
}

/** The one group there is may be named or not. */
function withoutGroup(key: string, value: unknown): unknown {
  return key === "group" ? undefined : value;
}
