import { assert, assertEquals } from "@std/assert";
import type { BlockId } from "../../src/core/ids.ts";
import type { ContentKey, ContentKeys } from "../../src/kvcache/groups/block_index.ts";
import type { GroupCopy } from "../../src/kvcache/groups/copy_queue.ts";
import { GroupManager } from "../../src/kvcache/groups/group_manager.ts";
import { type GroupSpec, liveBlocks } from "../../src/kvcache/groups/group_spec.ts";
import { type HybridHit, NO_BLOCK } from "../../src/kvcache/groups/hybrid_hit.ts";
import { leastCommonMultipleOf } from "../../src/core/slab_layout.ts";
import { type DeviceSequence, GroupDevice, nameOf } from "./group_device.ts";

/** Encoder inputs by key, in positions of the encoder's output. */
const INPUT_TOKENS: Readonly<Record<string, number>> = { "input a": 3, "input b": 5 };

/** Most positions of a sequence in flight. */
export const MAX_IN_FLIGHT = 6;

interface Step {
  readonly count: number;
  /** Blocks that the step reads or writes, by name. */
  readonly touched: ReadonlySet<string>;
}

interface Sequence extends DeviceSequence {
  tokens: string;
  numComputed: number;
  readonly steps: Step[];
  /** The tables as they were last seen. */
  tables: BlockId[][];
}

/**
 * A group manager, a device that knows what each block holds, and a plain account of what is
 * cached. Keys are the tokens themselves.
 */
export class GroupRig {
  readonly manager: GroupManager;
  readonly #groups: readonly GroupSpec[];
  readonly sequences: Sequence[] = [];
  readonly #device: GroupDevice;
  /** What must be hit, per group; encoder inputs too. */
  readonly #cached: Set<ContentKey>[];
  readonly #copying: (readonly GroupCopy[])[] = [];
  #nextId = 0;
  numHits = 0;
  numFailures = 0;

  constructor(groups: readonly GroupSpec[], poolBytes: number) {
    this.#groups = groups;
    this.#cached = groups.map(() => new Set());
    this.manager = new GroupManager({
      groups,
      poolBytes,
      maxInFlightTokens: MAX_IN_FLIGHT,
      onEvict: (group, key) => assert(this.#cached[group]!.delete(key), `${key} is not cached`),
    });
    this.#device = new GroupDevice(groups, this.manager);
  }

  /** Admits a sequence, if there is room; `letters` name its encoder inputs. */
  admit(tokens: string, letters: string): void {
    const encoder = this.#groups.findIndex(({ kind }) => kind === "encoder");
    const inputs = encoder < 0 ? [] : [...letters].map((letter) => `input ${letter}`);
    const hit = this.manager.match(this.#keys(tokens), tokens.length);
    assertEquals(hit.numTokens, this.#expectedHit(tokens), `hit of ${tokens}`);
    const missing = inputs.filter((key) => !this.#cached[encoder]!.has(key));
    const id = this.#nextId++;
    const placeholderEnd = Math.ceil(tokens.length / 2);
    const request = {
      numTokens: tokens.length,
      hit,
      inputs: inputs.map((key) => ({ key, numTokens: INPUT_TOKENS[key]!, placeholderEnd })),
    };
    const admission = this.#attempt(() => this.manager.tryAdmit(id, request));
    if (admission === undefined) return;
    const numComputed = hit.numTokens;
    assertEquals(admission, { numCachedTokens: numComputed, missingInputs: missing });
    const sequence: Sequence = {
      id,
      tokens,
      inputs,
      missing,
      placeholderEnd,
      numComputed,
      steps: [],
      tables: [],
    };
    this.sequences.push(sequence);
    this.#checkTables(sequence, hit);
    if (numComputed > 0) this.numHits++;
  }

  /** Computes up to `count` more positions of a sequence, in a step that stays in flight. */
  dispatch(sequence: Sequence, count: number, next: string): void {
    const numInFlight = sequence.steps.reduce((sum, step) => sum + step.count, 0);
    const chunk = Math.min(
      count,
      MAX_IN_FLIGHT - numInFlight,
      sequence.tokens.length - sequence.numComputed,
    );
    if (chunk <= 0) return;
    const end = sequence.numComputed + chunk;
    if (!this.#attempt(() => this.manager.tryExtend(sequence.id, end) || undefined)) return;
    this.copy();
    this.manager.dispatch(sequence.id, chunk);
    this.#device.compute(sequence, end);
    sequence.steps.push({ count: chunk, touched: this.#device.read(sequence) });
    const start = sequence.numComputed;
    sequence.numComputed = end;
    this.#publish(sequence, start);
    if (end === sequence.tokens.length) sequence.tokens += next;
    this.#checkTables(sequence);
  }

  /** Brings the oldest step of a sequence back. */
  settle(sequence: Sequence): void {
    const step = sequence.steps.shift();
    if (step === undefined) return;
    this.manager.settle(sequence.id, step.count);
    if (this.sequences.includes(sequence)) this.#checkTables(sequence);
  }

  /** Keeps a sequence's states where they may be kept. */
  snapshot(sequence: Sequence): void {
    const states = this.#groups.filter(({ kind }) => kind === "state-space");
    const { numComputed, id, tokens } = sequence;
    const isAtEnd = numComputed > 0 && states.length > 0 &&
      states.every((spec) => numComputed % spec.tokensPerBlock === 0);
    if (!isAtEnd) return;
    const keys = this.#keys(tokens.slice(0, numComputed));
    if (!this.#attempt(() => this.manager.trySnapshot(id, keys) || undefined)) return;
    this.#groups.forEach(({ kind }, group) => {
      if (kind === "state-space") this.#cached[group]!.add(keys[group]!.at(-1)!);
    });
  }

  /** Ends a sequence; its steps in flight may come back later. */
  free(sequence: Sequence): void {
    this.manager.free(sequence.id);
    this.sequences.splice(this.sequences.indexOf(sequence), 1);
    if (sequence.steps.length > 0) this.#ending.push(sequence);
  }

  readonly #ending: Sequence[] = [];

  /** Makes the copies that wait; they stay unfinished. */
  copy(): void {
    const copies = this.manager.takeCopies();
    this.#device.copy(copies);
    if (copies.length > 0) this.#copying.push(copies);
  }

  /** Finishes the oldest copies, and brings back the oldest step of a sequence that has ended. */
  finish(): void {
    const copies = this.#copying.shift();
    if (copies !== undefined) this.manager.finishCopies(copies);
    const ending = this.#ending[0];
    if (ending === undefined) return;
    this.settle(ending);
    if (ending.steps.length === 0) this.#ending.shift();
  }

  /** Ends everything, and asserts that nothing is lost. */
  drain(numSlabs: number): void {
    for (const sequence of [...this.sequences]) this.free(sequence);
    this.copy();
    while (this.#copying.length + this.#ending.length > 0) this.finish();
    this.manager.checkIntegrity();
    assertEquals([this.manager.numSequences, this.manager.numAvailableSlabs], [0, numSlabs]);
  }

  /** Asserts that a call which fails leaves bytes, contents and sequences as they were. */
  #attempt<T>(call: () => T | undefined): T | undefined {
    const state = () =>
      JSON.stringify([this.manager.usage(), this.#cached.map((keys) => [...keys])]);
    const before = state();
    const result = call();
    if (result === undefined) {
      assertEquals(state(), before, "a failed call has changed something");
      this.numFailures++;
    }
    return result;
  }

  #keys(tokens: string): ContentKeys {
    return this.#groups.map(({ tokensPerBlock }) =>
      Array.from(
        { length: Math.floor(tokens.length / tokensPerBlock) },
        (_, i) => tokens.slice(0, (i + 1) * tokensPerBlock),
      )
    );
  }

  /** The longest length at which every group has all it needs, tried one by one. */
  #expectedHit(tokens: string): number {
    const limits = this.#groups.filter(({ kind }) => kind !== "encoder");
    const step = leastCommonMultipleOf(limits.map((spec) => spec.tokensPerBlock));
    for (let length = tokens.length - 1; length > 0; length--) {
      const isValid = this.#groups.every((spec, group) => {
        const { numSinkBlocks, start, end } = liveBlocks(spec, length);
        return Array.from({ length: end }, (_, i) => i)
          .filter((i) => i < numSinkBlocks || i >= start)
          .every((i) => this.#cached[group]!.has(tokens.slice(0, (i + 1) * spec.tokensPerBlock)));
      });
      if (length % step === 0 && isValid) return length;
    }
    return 0;
  }

  #publish({ id, tokens, numComputed, inputs }: Sequence, start: number): void {
    // Keys reach further than what is computed, as those of a prompt do.
    this.manager.publish(id, this.#keys(tokens));
    const keys = this.#keys(tokens.slice(0, numComputed));
    this.#groups.forEach((spec, group) => {
      if (spec.kind === "state-space" || spec.kind === "encoder") return;
      const table = this.manager.blockTable(id, group);
      keys[group]!.forEach((key, i) => {
        // A block is offered once, when it becomes whole.
        if (table[i] !== NO_BLOCK && String(key).length > start) this.#cached[group]!.add(key);
      });
    });
    for (const key of inputs) {
      this.manager.publishInput(id, key);
      this.#groups.forEach(({ kind }, group) => {
        const isHeld = this.manager.inputBlocks(id, group, key) !== undefined;
        if (kind === "encoder" && isHeld) this.#cached[group]!.add(key);
      });
    }
  }

  /** Asserts that tables only grow or lose dead entries, and touch no block of a foreign step. */
  #checkTables(sequence: Sequence, hit?: HybridHit): void {
    const shared = new Set(hit?.blocks.flatMap((ids, group) => ids.map((id) => nameOf(group, id))));
    const busy = new Set<string>();
    for (const other of [...this.sequences, ...this.#ending]) {
      if (other === sequence) continue;
      for (const step of other.steps) for (const name of step.touched) busy.add(name);
    }
    const tables = this.#groups.map((_, group) => [...this.manager.blockTable(sequence.id, group)]);
    tables.forEach((table, group) => {
      const before = sequence.tables[group] ?? [];
      before.forEach((id, i) =>
        assert(table[i] === id || table[i] === NO_BLOCK, `entry ${i} has changed`)
      );
      for (const id of table.slice(before.length)) {
        const isNew = id !== NO_BLOCK && !shared.has(nameOf(group, id));
        assert(!isNew || !busy.has(nameOf(group, id)), "a block in flight was handed out");
      }
      const spec = this.#groups[group]!;
      for (const key of hit === undefined ? [] : sequence.missing) {
        for (const id of this.manager.inputBlocks(sequence.id, group, key) ?? []) {
          assert(!busy.has(nameOf(group, id)), "a block in flight was handed out");
        }
      }
      if (hit === undefined || spec.kind === "encoder" || spec.kind === "state-space") return;
      const { length } = hit.blocks[group]!;
      assertEquals(table.slice(0, length), hit.blocks[group]);
    });
    sequence.tables = tables;
  }
}
