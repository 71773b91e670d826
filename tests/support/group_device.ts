import { assert, assertEquals } from "@std/assert";
import type { BlockId } from "../../src/core/ids.ts";
import type { GroupCopy } from "../../src/kvcache/groups/copy_queue.ts";
import type { GroupManager } from "../../src/kvcache/groups/group_manager.ts";
import { type GroupSpec, liveBlocks } from "../../src/kvcache/groups/group_spec.ts";

/** What the device needs to know of a sequence. */
export interface DeviceSequence {
  readonly id: number;
  readonly tokens: string;
  /** Keys of its encoder inputs, and of those among them whose output it computes itself. */
  readonly inputs: readonly string[];
  readonly missing: readonly string[];
  readonly placeholderEnd: number;
  readonly numComputed: number;
}

/** Names a block. */
export function nameOf(group: number, id: BlockId): string {
  return `${group}:${id}`;
}

/**
 * A device that remembers, for each block, which tokens or input its content came from; so whatever
 * a step reads is compared with what it must read.
 */
export class GroupDevice {
  readonly #groups: readonly GroupSpec[];
  readonly #manager: GroupManager;
  readonly #contents = new Map<string, string>();

  constructor(groups: readonly GroupSpec[], manager: GroupManager) {
    this.#groups = groups;
    this.#manager = manager;
  }

  /** Makes copies. */
  copy(copies: readonly GroupCopy[]): void {
    for (const { group, from, to } of copies) {
      this.#contents.set(nameOf(group, to), this.#contents.get(nameOf(group, from))!);
    }
  }

  /** Writes what a step computes: each position of attention, the state, the encoder's output. */
  compute({ id, tokens, numComputed, missing }: DeviceSequence, end: number): void {
    this.#groups.forEach((spec, group) => {
      const table = this.#manager.blockTable(id, group);
      if (spec.kind === "state-space") {
        const before = numComputed === 0 ? "" : this.#contents.get(nameOf(group, table[0]!))!;
        assertEquals(before, tokens.slice(0, numComputed), "state before the step");
        this.#contents.set(nameOf(group, table[0]!), tokens.slice(0, end));
      } else if (spec.kind !== "encoder") {
        for (let i = Math.floor(numComputed / spec.tokensPerBlock); i < table.length; i++) {
          const blockEnd = Math.min(end, (i + 1) * spec.tokensPerBlock);
          this.#contents.set(nameOf(group, table[i]!), tokens.slice(0, blockEnd));
        }
      } else {
        for (const key of missing) {
          const blocks = this.#manager.inputBlocks(id, group, key) ?? [];
          for (const block of blocks) this.#contents.set(nameOf(group, block), key);
        }
      }
    });
  }

  /** Asserts that a step finds what it reads; returns all blocks it touches. */
  read({ id, tokens, inputs, placeholderEnd, numComputed: start }: DeviceSequence): Set<string> {
    const touched = new Set<string>();
    this.#groups.forEach((spec, group) => {
      const table = this.#manager.blockTable(id, group);
      const { numSinkBlocks, start: first, end } = liveBlocks(spec, start);
      if (spec.kind === "state-space") touched.add(nameOf(group, table[0]!));
      else if (spec.kind === "encoder") {
        const isRead = spec.lifetime === "sequence" || start < placeholderEnd;
        for (const key of isRead ? inputs : []) {
          const blocks = this.#manager.inputBlocks(id, group, key);
          assert(blocks !== undefined, "the encoder's output is gone");
          for (const block of blocks) {
            assertEquals(this.#contents.get(nameOf(group, block)), key);
            touched.add(nameOf(group, block));
          }
        }
      } else {
        table.forEach((block, i) => {
          const isRead = i < end && (i < numSinkBlocks || i >= first);
          if (i >= end || isRead) touched.add(nameOf(group, block));
          if (!isRead) return;
          const content = this.#contents.get(nameOf(group, block)) ?? "nothing";
          const whole = tokens.slice(0, (i + 1) * spec.tokensPerBlock);
          const numKnown = Math.min(start, whole.length);
          assert(
            whole.startsWith(content) && content.length >= numKnown,
            `${spec.name}: read ${content}`,
          );
        });
      }
    });
    return touched;
  }
}
