import type { Arrival, Progress, ServerTotals, SimServer, SimStep } from "./sim_server.ts";
import { type Span, workOf } from "./step_work.ts";

/** How fixed buffers are used. */
export interface SlotOptions {
  readonly numSlots: number;
  /** Tokens that one buffer holds. */
  readonly slotLen: number;
  /** Most positions in one step. */
  readonly maxNumBatchedTokens: number;
  /**
   * Whether a batch starts when all of the one before have ended, and computes until its longest
   * has; otherwise a request starts as soon as a buffer is free.
   */
  readonly isStatic: boolean;
  /** Whether a request goes on behind what a free buffer has in common with its prompt. */
  readonly keepsPrompts: boolean;
}

/** A buffer, and the request in it. */
interface Slot {
  arrival: Arrival | undefined;
  /** What the buffer has keys and values of. */
  tokens: Uint32Array;
  numComputed: number;
  /** Of its request: prompt and output so far. */
  numTokens: number;
  lastUse: number;
}

/**
 * Servers with a fixed buffer per sequence, none of which is Quire's: static batching, and the slots
 * of llama.cpp's server, which divide the memory evenly and keep the prompt that was in them last.
 */
export class SlotServer implements SimServer {
  readonly #options: SlotOptions;
  readonly #slots: readonly Slot[];
  readonly #queue: Arrival[] = [];
  #numUses = 0;
  #numQueried = 0;
  #numHit = 0;

  constructor(options: SlotOptions) {
    this.#options = options;
    this.#slots = Array.from({ length: options.numSlots }, () => ({
      arrival: undefined,
      tokens: new Uint32Array(options.slotLen),
      numComputed: 0,
      numTokens: 0,
      lastUse: 0,
    }));
  }

  get hasWork(): boolean {
    return this.#queue.length > 0 || this.#busy.length > 0;
  }

  get totals(): ServerTotals {
    return { numPreemptions: 0, numQueried: this.#numQueried, numHit: this.#numHit };
  }

  get #busy(): Slot[] {
    return this.#slots.filter(({ arrival }) => arrival !== undefined);
  }

  add(arrival: Arrival): boolean {
    const { promptLen, outputLen } = arrival.turn;
    if (promptLen + outputLen > this.#options.slotLen) return false;
    this.#queue.push(arrival);
    return true;
  }

  step(): SimStep | undefined {
    const mayStart = !this.#options.isStatic || this.#busy.length === 0;
    while (mayStart && this.#queue.length > 0 && this.#busy.length < this.#slots.length) {
      this.#start(this.#queue.shift()!);
    }
    const busy = this.#busy;
    if (busy.length === 0) return undefined;
    const spans = this.#plan(busy);
    const numHeld = this.#options.slotLen * busy.length;
    const numFilled = busy.reduce((sum, slot) => {
      const numNew = isOver(slot) ? 0 : spans.get(slot)?.count ?? 0;
      return sum + slot.numComputed + numNew;
    }, 0);
    const work = workOf(spans.values());
    const numEmpty = numHeld - numFilled;
    return { work: { ...work, numHeld, numEmpty }, finish: () => this.#finish(spans) };
  }

  takeProgress(): readonly Progress[] {
    return [];
  }

  #start(arrival: Arrival): void {
    const prompt = arrival.turn.prompt();
    const { keepsPrompts } = this.#options;
    const free = this.#slots.filter((slot) => slot.arrival === undefined);
    const common = (slot: Slot) => keepsPrompts ? commonLength(slot, prompt) : 0;
    const best = free.map((slot) => ({ slot, length: common(slot) }))
      .reduce((a, b) =>
        b.length > a.length || b.length === a.length && b.slot.lastUse < a.slot.lastUse ? b : a
      );
    const { slot, length } = best;
    if (keepsPrompts) {
      this.#numQueried += prompt.length;
      this.#numHit += length;
    }
    slot.arrival = arrival;
    slot.tokens.set(prompt);
    slot.numComputed = length;
    slot.numTokens = prompt.length;
  }

  /** Decodes first, then prompts in order of their slots, as far as the step's tokens last. */
  #plan(busy: readonly Slot[]): Map<Slot, Span> {
    const { maxNumBatchedTokens, isStatic } = this.#options;
    const spans = new Map<Slot, Span>();
    let numLeft = maxNumBatchedTokens;
    const isDecode = ({ numTokens, numComputed }: Slot) => numTokens - numComputed === 1;
    // A batch is static: no answer goes on before all prompts are computed.
    const hasPrompts = isStatic && busy.some((slot) => !isDecode(slot) && !isOver(slot));
    const ordered = [...busy.filter(isDecode), ...busy.filter((slot) => !isDecode(slot))];
    for (const slot of ordered) {
      if (hasPrompts && isDecode(slot)) continue;
      // One that is over still computes, as a row of the batch.
      const wanted = isOver(slot) ? (hasPrompts ? 0 : 1) : slot.numTokens - slot.numComputed;
      const count = Math.min(wanted, numLeft);
      if (count === 0) continue;
      spans.set(slot, { start: isOver(slot) ? slot.numComputed - 1 : slot.numComputed, count });
      numLeft -= count;
    }
    return spans;
  }

  #finish(spans: ReadonlyMap<Slot, Span>): Progress[] {
    const progress: Progress[] = [];
    for (const [slot, { count }] of spans) {
      if (isOver(slot)) continue;
      const { index, turn } = slot.arrival!;
      slot.numComputed += count;
      if (slot.numComputed < slot.numTokens) continue;
      const numOutputs = slot.numTokens - turn.promptLen + 1;
      const isEnd = numOutputs === turn.outputLen;
      if (!isEnd) slot.tokens[slot.numTokens] = turn.token(numOutputs - 1);
      slot.numTokens++;
      progress.push({ index, hasToken: true, ...(isEnd ? { end: "finished" as const } : {}) });
      if (isEnd && !this.#options.isStatic) this.#release(slot);
    }
    const busy = this.#busy;
    if (this.#options.isStatic && busy.every(isOver)) busy.forEach((slot) => this.#release(slot));
    return progress;
  }

  #release(slot: Slot): void {
    slot.arrival = undefined;
    slot.lastUse = ++this.#numUses;
  }
}

/** Whether a slot's request has all its tokens; the last is never computed. */
function isOver({ arrival, numTokens }: Slot): boolean {
  return arrival !== undefined && numTokens === arrival.turn.promptLen + arrival.turn.outputLen;
}

/** Leading tokens that a slot has computed of a prompt; the last is always computed anew. */
function commonLength({ tokens, numComputed }: Slot, prompt: Uint32Array): number {
  const most = Math.min(numComputed, prompt.length - 1);
  let length = 0;
  while (length < most && tokens[length] === prompt[length]) length++;
  return length;
}
