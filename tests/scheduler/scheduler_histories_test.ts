import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Batch, ScheduledChunk } from "../../src/core/batch.ts";
import { NO_BLOCK } from "../../src/core/cache_group.ts";
import { RequestError } from "../../src/core/errors.ts";
import type { GenerationRequest } from "../../src/core/generation.ts";
import type { BlockId } from "../../src/core/ids.ts";
import type { KvDecision } from "../../src/core/kv_decision.ts";
import type { TokenEvent } from "../../src/core/token_event.ts";
import {
  decodeSteps,
  requestFor,
  type SchedulerAction,
  schedulerHistories,
  schedulings,
  tinyCachingRigs,
  tinyGroupRigs,
  withSwap,
} from "../support/arbitraries.ts";
import { FairShareModel } from "../support/fair_share_model.ts";
import { FULL } from "../support/kv_groups.ts";
import { generateAlone } from "../support/paged_fake_runner.ts";
import { type RigOptions, SchedulerRig } from "../support/scheduler_rig.ts";
import { runs, times } from "../support/runs.ts";

/** Plays one history on a rig and keeps what was asked of it. */
class History {
  readonly rig: SchedulerRig;
  readonly fairShares = new FairShareModel();
  readonly accepted: GenerationRequest[] = [];
  /** `request/index` of each sequence that was aborted before it had reported an end. */
  readonly aborted = new Set<string>();
  readonly #firstIds = new Map<string, number>();
  readonly #startOf = new Map<number, number>();
  /** When each request that has a timeout ends at the latest. */
  readonly deadlines = new Map<string, number>();
  numActions = 0;
  numResizes = 0;
  numMoves = 0;
  #numRequests = 0;
  #numSequences = 0;

  constructor(options: RigOptions) {
    const { schedulingPolicy = "fcfs" } = options;
    const onDecision = (decision: KvDecision) => {
      if (schedulingPolicy === "fcfs") this.fairShares.decided(decision);
    };
    this.rig = new SchedulerRig({ ...options, onDecision });
  }

  /** Audits what comes of an action, once; of a step the rig does. */
  apply(action: SchedulerAction): void {
    this.#act(action);
    if (action.verb !== "step") this.rig.scheduler.checkIntegrity();
  }

  #act(action: SchedulerAction): void {
    this.numActions++;
    if (action.verb === "submit") {
      const request = requestFor(this.rig.options, action.request);
      this.#submit({ id: `r${this.#numRequests++}`, ...request });
    }
    if (action.verb === "abort") this.#abort(action.pick, action.index);
    if (action.verb === "step") {
      this.fairShares.beginStep();
      this.rig.nowMs += action.elapsedMs ?? 0;
      const { nowMs } = this.rig;
      this.rig.step((batch) => {
        checkBatch(batch, this.rig.options, this.#startOf);
        action.inFlight.forEach((inner, i) => {
          if (i > 0) this.rig.scheduler.checkIntegrity();
          this.#act(inner);
        });
      });
      this.#checkDeadlines(nowMs);
    }
    if (action.verb === "resize") this.#resize(action.numBlocks);
    if (action.verb === "reset") {
      this.rig.scheduler.resetPrefixCache(true);
      assertEquals(this.rig.blocks.numFree, this.rig.blocks.numBlocks);
    }
  }

  /** Where the first chunk of a sequence started; undefined when it never ran. */
  firstStart(requestId: string, index: number): number | undefined {
    return this.#startOf.get(this.#firstIds.get(requestId)! + index);
  }

  /** Nothing whose time had come at the last step goes on. */
  #checkDeadlines(nowMs: number): void {
    for (const { id, sequences } of this.accepted) {
      if (nowMs < (this.deadlines.get(id) ?? Infinity)) continue;
      sequences.forEach((_, i) => assert(this.rig.endOf(id, i), `${id}/${i} runs past its time`));
    }
  }

  #resize(numBlocks: number): void {
    const before = this.rig.scheduler.stats;
    const numWanted = numBlocks === 0 ? this.rig.minNumBlocks : numBlocks;
    try {
      const { numAfter, moves } = this.rig.resize(numWanted);
      assertEquals([numAfter, this.rig.blocks.numBlocks], [numWanted, numWanted]);
      this.numMoves += moves.length;
      this.numResizes++;
    } catch (error) {
      assert(error instanceof RequestError && numWanted < this.rig.minNumBlocks, `${error}`);
      assertEquals(this.rig.scheduler.stats, before, "a refusal changes nothing");
    }
  }

  #submit(request: GenerationRequest): void {
    const before = this.rig.scheduler.stats;
    this.fairShares.submit(request);
    try {
      this.rig.add(request);
      this.accepted.push(request);
      const { id, timeoutMs } = request;
      if (timeoutMs !== undefined) this.deadlines.set(id, this.rig.nowMs + timeoutMs);
      this.#firstIds.set(request.id, this.#numSequences);
      this.#numSequences += request.sequences.length;
    } catch (error) {
      assert(error instanceof RequestError, `${error}`);
      assertEquals(this.rig.scheduler.stats, before, "a refusal changes nothing");
    }
  }

  #abort(pick: number, index: number | undefined): void {
    if (this.accepted.length === 0) return;
    const { id, sequences } = this.accepted[pick % this.accepted.length]!;
    this.rig.scheduler.abort(id, index);
    sequences.forEach((_, i) => {
      const isMeant = index === undefined || i === index;
      if (isMeant && this.rig.endOf(id, i) === undefined) this.aborted.add(`${id}/${i}`);
    });
  }
}

/** What every batch promises to the runner, whatever led to it. */
function checkBatch(
  batch: Batch,
  options: SchedulerRig["options"],
  startOf: Map<number, number>,
): void {
  const { chunks, numTokens } = batch;
  assert(chunks.length > 0 && chunks.length <= options.maxNumSeqs, `${chunks.length} chunks`);
  assertEquals(numTokens, chunks.reduce((sum, { tokens }) => sum + tokens.length, 0));
  assert(numTokens <= options.maxNumBatchedTokens, `${numTokens} tokens`);
  assertEquals(new Set(chunks.map(({ sequenceId }) => sequenceId)).size, chunks.length);
  const { groups = [FULL], blockSize } = options;
  const isDecode = chunks.every(({ tokens: { length }, draw }) => length === 1 && draw);
  for (const chunk of chunks) {
    const { tokens, start, blockTables, numDecodeSteps } = chunk;
    assert(tokens.length > 0 && start >= 0);
    const { maxDecodeSteps = 1 } = options;
    assert(
      numDecodeSteps === undefined ||
        (isDecode && numDecodeSteps > 1 && numDecodeSteps <= maxDecodeSteps),
    );
    blockTables.forEach((table, group) => {
      const isLong = table.length * blockSize >= endOf(chunk);
      assert(isLong || groups[group]!.kind === "state", "table too short");
    });
  }
  for (const { sequenceId, start } of chunks) {
    if (!startOf.has(sequenceId)) startOf.set(sequenceId, start);
  }
  groups.forEach(({ kind }, group) => {
    if (kind === "state") checkStates(batch, group);
    else checkSharing(batch, group, blockSize);
  });
}

/** Behind the last position that a chunk writes, in all of its steps. */
function endOf({ start, tokens, numDecodeSteps = 1 }: ScheduledChunk): number {
  return start + tokens.length + numDecodeSteps - 1;
}

/** That blocks of a group are shared to be read only: whoever writes a block has it alone. */
function checkSharing({ chunks, copies = [] }: Batch, group: number, blockSize: number): void {
  const numTables = new Map<BlockId, number>();
  for (const { blockTables } of chunks) {
    for (const id of blockTables[group]!) numTables.set(id, (numTables.get(id) ?? 0) + 1);
  }
  for (const chunk of chunks) {
    const table = chunk.blockTables[group]!;
    const end = Math.min(table.length, Math.ceil(endOf(chunk) / blockSize));
    for (let i = Math.floor(chunk.start / blockSize); i < end; i++) {
      const id = table[i]!;
      assert(id !== NO_BLOCK, "a dead block is written");
      if (numTables.get(id) !== 1) throw new Error(`block ${id} is shared`);
    }
  }
  const own = copies.filter((copy) => copy.group === group);
  const targets = own.map(({ to }) => to);
  assertEquals(new Set(targets).size, targets.length, "a block is copied to twice");
  for (const { from, to, numTokens } of own) {
    assert(numTokens > 0 && numTokens < blockSize && !targets.includes(from));
    assertEquals(numTables.get(to), 1, `block ${to} is copied to and shared`);
  }
}

/** That no two sequences have one state, and copies write what no step reads before. */
function checkStates({ chunks, copies = [] }: Batch, group: number): void {
  const states = chunks.map(({ blockTables }) => blockTables[group]![0]!);
  assertEquals(new Set(states).size, states.length, "a state is shared");
  const own = copies.filter((copy) => copy.group === group);
  const targets = own.map(({ to }) => to);
  assertEquals(new Set(targets).size, targets.length, "a state is copied to twice");
  for (const { from } of own) assert(!targets.includes(from), "a copy reads what another writes");
}

/** That a sequence ended once, rightly, and said what it says alone; `events` are its own. */
function checkOutcome(
  history: History,
  request: GenerationRequest,
  index: number,
  events: readonly TokenEvent[],
): void {
  const { rig } = history;
  const ends = events.filter(({ finishReason }) => finishReason !== undefined);
  assertEquals(ends.length, 1, `${request.id}/${index} ended ${ends.length} times`);
  assertEquals(events.at(-1), ends[0], "an event after the end");
  const { prompt, params } = request.sequences[index]!;
  const numCachedTokens = history.firstStart(request.id, index) ?? 0;
  assert(numCachedTokens < prompt.length, "the last prompt token is always computed");
  events.forEach((event, i) =>
    assertEquals(event.numCachedTokens, i === 0 ? numCachedTokens : undefined)
  );
  const [first = FULL] = rig.options.groups ?? [];
  const { maxModelLen, shortContextLen } = rig.options;
  const alone = generateAlone(prompt, params, maxModelLen, {
    cache: first,
    ...(shortContextLen === undefined ? {} : { shortContextLen }),
  });
  const tokens = events.flatMap(({ token }) => token ?? []);
  const finishReason = ends[0]!.finishReason!;
  if (finishReason === "abort" || finishReason === "error") {
    assertEquals(tokens, alone.tokens.slice(0, tokens.length));
    assert(tokens.length < alone.tokens.length, "it had all its tokens");
  } else {
    assertEquals({ tokens, finishReason }, alone);
  }
  const wasAborted = history.aborted.has(`${request.id}/${index}`);
  // An error in the planning of a step is reported at its end, so an abort in between finds it
  // done.
  if (finishReason !== "error") assertEquals(finishReason === "abort", wasAborted);
  if (ends[0]!.error?.code === "deadline_exceeded") {
    assert(rig.nowMs >= history.deadlines.get(request.id)!, "its time has not come");
  } else if (finishReason === "error") {
    const numPositions = prompt.length + tokens.length;
    assert(rig.blocks.numSlabsOf(numPositions) > rig.options.numBlocks, "it would have fitted");
  }
}

/** What has to have happened in a full run. */
interface Expected {
  readonly numRuns: number;
  readonly numPreemptions: number;
  readonly numHitTokens: number;
  readonly numMoves?: number;
  readonly numResizes: number;
  readonly numCopies: number;
  readonly numContested: number;
  readonly numTimeouts: number;
  /** Blocks copied back from host memory, and sequences whose blocks it lost. */
  readonly numSwappedIn?: number;
  readonly numLost?: number;
  readonly numFurtherDecodeSteps: number;
  /** Absent where answers rarely stop by themselves. */
  readonly numWastedTokens?: number;
}

function checkHistories(sizes: fc.Arbitrary<RigOptions>, seed: number, expected: Expected): void {
  const rigs = fc.tuple(sizes, schedulings).map(([rig, scheduling]) => ({ ...rig, ...scheduling }));
  let numTimeouts = 0;
  let numPreemptions = 0;
  let numActions = 0;
  let numHitTokens = 0;
  let numCopies = 0;
  let numMoves = 0;
  let numResizes = 0;
  let numContested = 0;
  let numSwappedIn = 0;
  let numLost = 0;
  let numFurtherDecodeSteps = 0;
  let numWastedTokens = 0;
  const reasons = new Set<string>();
  fc.assert(
    fc.property(rigs, schedulerHistories, decodeSteps, (sizes, actions, steps) => {
      const options = { ...sizes, ...steps };
      const history = new History(options);
      const { rig } = history;
      for (const action of actions) history.apply(action);
      for (let numSteps = 0; rig.scheduler.hasWork; numSteps++) {
        assert(numSteps < 1000, "work left after 1000 steps");
        history.apply({ verb: "step", inFlight: [] });
      }
      rig.finish();

      assertEquals(rig.blocks.numInUse, 0);
      if (options.prefixCache === undefined) assertEquals(rig.blocks.numIdle, 0);
      assertEquals([rig.scheduler.stats.numRunning, rig.scheduler.stats.numWaiting], [0, 0]);
      rig.runner.batches.forEach(({ step }, i) => assertEquals(step, i));
      const eventsOf = Map.groupBy(rig.events, ({ requestId, index }) => `${requestId}/${index}`);
      for (const request of history.accepted) {
        request.sequences.forEach((_, index) => {
          checkOutcome(history, request, index, eventsOf.get(`${request.id}/${index}`) ?? []);
        });
      }
      const ids = new Set(history.accepted.map(({ id }) => id));
      assert(rig.events.every(({ requestId }) => ids.has(requestId)), "an event of a refused one");

      assertEquals([rig.scheduler.stats.numUsedSwapBlocks, rig.scheduler.stats.numSwapped], [0, 0]);
      numSwappedIn += rig.scheduler.stats.numSwappedInBlocks;
      numLost += rig.runner.numLost;
      assertEquals(rig.scheduler.stats.numSwapsCorrupt, rig.runner.numLost);
      numTimeouts += rig.scheduler.stats.numTimeouts;
      numContested += history.fairShares.numContested;
      numFurtherDecodeSteps += rig.scheduler.stats.numFurtherDecodeSteps;
      numWastedTokens += rig.scheduler.stats.numWastedTokens;
      numActions += history.numActions;
      numMoves += history.numMoves;
      numResizes += history.numResizes;
      numHitTokens += rig.scheduler.stats.numHitTokens;
      numCopies += rig.runner.batches.reduce((sum, { copies }) => sum + (copies?.length ?? 0), 0);
      numPreemptions += rig.scheduler.stats.numPreemptions;
      rig.events.forEach(({ finishReason }) => reasons.add(finishReason ?? "token"));
    }),
    { seed, numRuns: runs(expected.numRuns) },
  );
  const happened = {
    ...{ numPreemptions, numHitTokens, numMoves, numResizes, numCopies, numContested, numTimeouts },
    ...{ numSwappedIn, numLost },
    ...{ numFurtherDecodeSteps, numWastedTokens },
  };
  for (const [name, count] of Object.entries(happened)) {
    const least = times(expected[name as keyof typeof happened] ?? -1);
    assert(count > least, `${name} is ${count}, and not more than ${least}`);
  }
  assert(numActions >= times(10 * expected.numRuns), `only ${numActions} actions`);
  assertEquals([...reasons].sort(), ["abort", "error", "length", "stop", "token"]);
}

Deno.test("Scheduler ends every accepted sequence once and rightly, keeps turns, and leaks nothing, under any history", () => {
  checkHistories(tinyCachingRigs, 15, {
    numRuns: 20_000,
    numPreemptions: 100,
    numHitTokens: 8000,
    numMoves: 50,
    numResizes: 5000,
    numCopies: 2000,
    numContested: 5000,
    numTimeouts: 500,
    numFurtherDecodeSteps: 1000,
    numWastedTokens: 200,
  });
});

Deno.test("Scheduler does so with several cache groups, and every step reads what it must in each", () => {
  checkHistories(tinyGroupRigs, 5, {
    numRuns: 20_000,
    numPreemptions: 100,
    numHitTokens: 4000,
    numMoves: 50,
    numResizes: 5000,
    numCopies: 2000,
    numContested: 5000,
    numTimeouts: 500,
    numFurtherDecodeSteps: 1000,
    numWastedTokens: 200,
  });
});

Deno.test("Scheduler does so where the KV of long sequences is another, and no cache mixes the two", () => {
  const rigs = fc.tuple(tinyGroupRigs, fc.integer({ min: 1, max: 20 })).map(
    ([sizes, shortContextLen]) => ({ ...sizes, shortContextLen }),
  );
  checkHistories(rigs, 8, {
    numRuns: 3000,
    numPreemptions: 1000,
    numHitTokens: 250,
    numMoves: 5,
    numResizes: 750,
    numCopies: 150,
    numContested: 750,
    numTimeouts: 50,
    numFurtherDecodeSteps: 100,
  });
});

/** What happens in 10,000 histories with host memory. */
const SWAPPED: Expected = {
  numRuns: 10_000,
  numPreemptions: 50,
  numHitTokens: 2000,
  numResizes: 2500,
  numCopies: 1000,
  numContested: 2500,
  numTimeouts: 250,
  numSwappedIn: 1000,
  numLost: 30,
  numFurtherDecodeSteps: 100,
  numWastedTokens: 20,
};

Deno.test("Scheduler does so where preempted sequences go to host memory, which is full or loses blocks", () => {
  checkHistories(withSwap(tinyCachingRigs), 21, { ...SWAPPED, numHitTokens: 4000 });
});

Deno.test("Scheduler does so with several cache groups, whose windows and states come back from host memory", () => {
  checkHistories(withSwap(tinyGroupRigs), 22, { ...SWAPPED, numMoves: 25 });
});
