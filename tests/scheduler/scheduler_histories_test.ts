import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Batch } from "../../src/core/batch.ts";
import { RequestError } from "../../src/core/errors.ts";
import type { GenerationRequest } from "../../src/core/generation.ts";
import type { TokenEvent } from "../../src/core/token_event.ts";
import { type SchedulerAction, schedulerHistories, tinyRigs } from "../support/arbitraries.ts";
import { generateAlone } from "../support/paged_fake_runner.ts";
import { type RigOptions, SchedulerRig } from "../support/scheduler_rig.ts";

/** Plays one history on a rig and keeps what was asked of it. */
class History {
  readonly rig: SchedulerRig;
  readonly accepted: GenerationRequest[] = [];
  /** `request/index` of each sequence that was aborted before it had reported an end. */
  readonly aborted = new Set<string>();
  #numRequests = 0;

  constructor(options: RigOptions) {
    this.rig = new SchedulerRig(options);
  }

  apply(action: SchedulerAction): void {
    if (action.verb === "submit") this.#submit(`r${this.#numRequests++}`, action.sequences);
    if (action.verb === "abort") this.#abort(action.pick, action.index);
    if (action.verb === "step") {
      this.rig.step((batch) => {
        checkBatch(batch, this.rig.options);
        action.inFlight.forEach((inner) => this.apply(inner));
      });
    }
    this.rig.scheduler.checkIntegrity();
  }

  #submit(id: string, sequences: GenerationRequest["sequences"]): void {
    const before = this.rig.scheduler.stats;
    try {
      this.rig.add({ id, sequences });
      this.accepted.push({ id, sequences });
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
function checkBatch(batch: Batch, options: Required<RigOptions>): void {
  const { chunks, numTokens } = batch;
  assert(chunks.length > 0 && chunks.length <= options.maxNumSeqs, `${chunks.length} chunks`);
  assertEquals(numTokens, chunks.reduce((sum, { tokens }) => sum + tokens.length, 0));
  assert(numTokens <= options.maxNumBatchedTokens, `${numTokens} tokens`);
  assertEquals(new Set(chunks.map(({ sequenceId }) => sequenceId)).size, chunks.length);
  for (const { tokens, start, blockTable } of chunks) {
    assert(tokens.length > 0 && start >= 0);
    assert(blockTable.length * options.blockSize >= start + tokens.length, "table too short");
  }
  const held = chunks.flatMap(({ blockTable }) => blockTable);
  assertEquals(new Set(held).size, held.length, "a block in two tables");
}

/** That a sequence ended once, rightly, and said what it says alone. */
function checkOutcome(history: History, request: GenerationRequest, index: number): void {
  const { rig } = history;
  const mine = (event: TokenEvent) => event.requestId === request.id && event.index === index;
  const events = rig.events.filter(mine);
  const ends = events.filter(({ finishReason }) => finishReason !== undefined);
  assertEquals(ends.length, 1, `${request.id}/${index} ended ${ends.length} times`);
  assertEquals(events.at(-1), ends[0], "an event after the end");
  assertEquals(events.map((event) => event.numCachedTokens), [
    0,
    ...events.slice(1).map(() => undefined),
  ]);

  const { prompt, params } = request.sequences[index]!;
  const alone = generateAlone(prompt, params, rig.options.maxModelLen);
  const tokens = rig.tokensOf(request.id, index);
  const finishReason = ends[0]!.finishReason!;
  if (finishReason === "abort" || finishReason === "error") {
    assertEquals(tokens, alone.tokens.slice(0, tokens.length));
    assert(tokens.length < alone.tokens.length, "it had all its tokens");
  } else {
    assertEquals({ tokens, finishReason }, alone);
  }
  const wasAborted = history.aborted.has(`${request.id}/${index}`);
  // An error in the planning of a step is reported at its end, so an abort in between finds it done.
  if (finishReason !== "error") assertEquals(finishReason === "abort", wasAborted);
  if (finishReason === "error") {
    const numPositions = prompt.length + tokens.length;
    assert(numPositions > rig.options.numBlocks * rig.options.blockSize, "it would have fitted");
  }
}

Deno.test("Scheduler ends every accepted sequence once and rightly, and leaks nothing, under any history", () => {
  let numPreemptions = 0;
  const reasons = new Set<string>();
  fc.assert(
    fc.property(tinyRigs, schedulerHistories, (options, actions) => {
      const history = new History(options);
      const { rig } = history;
      for (const action of actions) history.apply(action);
      rig.finish();

      assertEquals(rig.blocks.numFree, rig.blocks.numBlocks);
      assertEquals([rig.scheduler.stats.numRunning, rig.scheduler.stats.numWaiting], [0, 0]);
      assertEquals(
        rig.runner.batches.map(({ step }) => step),
        rig.runner.batches.map((_, i) => i),
      );
      for (const request of history.accepted) {
        request.sequences.forEach((_, index) => checkOutcome(history, request, index));
      }
      const ids = new Set(history.accepted.map(({ id }) => id));
      assert(rig.events.every(({ requestId }) => ids.has(requestId)), "an event of a refused one");

      numPreemptions += rig.scheduler.stats.numPreemptions;
      rig.events.forEach(({ finishReason }) => reasons.add(finishReason ?? "token"));
    }),
    { seed: 4, numRuns: 1000 },
  );
  assert(numPreemptions > 100, `the histories preempted only ${numPreemptions} times`);
  assertEquals([...reasons].sort(), ["abort", "error", "length", "stop", "token"]);
});
