import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import type { Batch } from "../../src/core/batch.ts";
import type { BeamSearchParams } from "../../src/core/beam_search_params.ts";
import { RequestError } from "../../src/core/errors.ts";
import type { GenerationRequest, SequenceRequest } from "../../src/core/generation.ts";
import type { KvDecision } from "../../src/core/kv_decision.ts";
import { prefixCaches, requestSequences } from "../support/arbitraries.ts";
import { type Model, searchAlone } from "../support/beam_reference.ts";
import { generateAlone, likeliestAfter } from "../support/paged_fake_runner.ts";
import { requestOf, samplingParams } from "../support/requests.ts";
import { chunksOf, type RigOptions, SchedulerRig } from "../support/scheduler_rig.ts";
import { runs, times } from "../support/runs.ts";

const VOCAB_SIZE = 7;
const model: Model = (tokens, count) => likeliestAfter(tokens, count, VOCAB_SIZE);

/** A request for the answers of one search per prompt. */
function searchRequest(
  id: string,
  prompts: readonly (readonly number[])[],
  beamSearch: BeamSearchParams,
  params: Partial<SequenceRequest["params"]> = {},
): GenerationRequest {
  const sequences = prompts.flatMap((prompt) =>
    Array.from({ length: beamSearch.width }, () => ({
      prompt: Uint32Array.from(prompt),
      params: samplingParams(params),
    }))
  );
  return { id, sequences, beamSearch };
}

function search(width: number, fields: Partial<BeamSearchParams> = {}): BeamSearchParams {
  return { width, lengthPenalty: 1, earlyStopping: true, ...fields };
}

type Found = ReturnType<typeof searchAlone>;

/** What was found for each request so far, by prompt and length: a search has many sequences. */
const known = new WeakMap<GenerationRequest, Map<string, Found>>();

/** What the reference finds for the search that answers sequence `index` of a request. */
function aloneOf(request: GenerationRequest, index: number, maxModelLen: number): Found {
  const { sequences, beamSearch } = request;
  const { prompt, params } = sequences[index]!;
  const name = `${Math.floor(index / beamSearch!.width)} within ${maxModelLen}`;
  let ofRequest = known.get(request);
  if (ofRequest === undefined) known.set(request, ofRequest = new Map());
  let found = ofRequest.get(name);
  if (found === undefined) {
    const { maxTokens, stopTokenIds } = params;
    const maxNumTokens = Math.min(maxTokens, maxModelLen - prompt.length);
    const query = { ...beamSearch!, prompt: [...prompt], stopTokenIds, maxNumTokens };
    found = searchAlone(model, query);
    ofRequest.set(name, found);
  }
  return found;
}

function checkAnswers(rig: SchedulerRig, request: GenerationRequest): void {
  const { width } = request.beamSearch!;
  request.sequences.forEach((_, index) => {
    const { answers } = aloneOf(request, index, rig.options.maxModelLen);
    const { outputs, finishReason } = answers[index % width]!;
    assertEquals(rig.tokensOf(request.id, index), outputs);
    assertEquals(rig.endOf(request.id, index)?.finishReason, finishReason);
  });
}

function rigOf(options: RigOptions = {}): SchedulerRig {
  return new SchedulerRig({ vocabSize: VOCAB_SIZE, ...options });
}

/** Distinct blocks that beams of these tokens hold: shared where all tokens of a whole block are. */
function numTrieBlocks(beams: readonly (readonly number[])[], blockSize: number): number {
  const keys = beams.flatMap((tokens, i) =>
    Array.from({ length: Math.ceil(tokens.length / blockSize) }, (_, at) => {
      const end = (at + 1) * blockSize;
      return end < tokens.length ? tokens.slice(0, end).join() : `${i}:${at}`;
    })
  );
  return new Set(keys).size;
}

Deno.test("Scheduler runs a search's beams together, each block held once and copies made only where written", () => {
  fc.assert(
    fc.property(
      fc.record({
        blockSize: fc.integer({ min: 1, max: 4 }),
        prefixCache: prefixCaches,
        prompt: fc.array(fc.nat(2), { minLength: 1, maxLength: 7 }),
        width: fc.integer({ min: 1, max: 4 }),
        maxTokens: fc.integer({ min: 1, max: 12 }),
      }),
      ({ blockSize, prefixCache, prompt, width, maxTokens }) => {
        const rig = rigOf({ blockSize, ...(prefixCache && { prefixCache }) });
        const request = searchRequest("a", [prompt], search(width), { maxTokens });
        rig.add(request);
        const { steps } = aloneOf(request, 0, 1000);
        assertEquals(chunksOf(rig.step()), [[0, 0, prompt.length]]);
        for (const beams of steps) {
          const batch = rig.step()!;
          const numComputed = prompt.length + beams[0]!.outputs.length - 1;
          const parents = new Set(beams.map(({ outputs }) => outputs.slice(0, -1).join()));
          assertEquals(batch.chunks.map(({ start, tokens }) => [start, tokens.length]), [
            ...beams.map(() => [numComputed, 1]),
          ]);
          const numCopies = numComputed % blockSize === 0 ? 0 : beams.length - parents.size;
          assertEquals(batch.copies?.length ?? 0, numCopies);
          const held = new Set(batch.chunks.flatMap(({ blockTables }) => blockTables[0]!));
          const tokens = beams.map(({ outputs }) => [...prompt, ...outputs]);
          assertEquals(held.size, numTrieBlocks(tokens, blockSize));
        }
        assertEquals(rig.scheduler.hasWork, false);
        assertEquals(rig.blocks.numInUse, 0);
        checkAnswers(rig, request);
      },
    ),
    { seed: 33, numRuns: runs(1500) },
  );
});

/** Searches and draws, arriving after one another. */
const arrivals = fc.array(
  fc.record({
    gap: fc.nat(5),
    abortAfter: fc.option(fc.nat(8), { nil: undefined, freq: 5 }),
    beams: fc.option(
      fc.record({
        prompts: fc.array(fc.array(fc.nat(2), { minLength: 1, maxLength: 6 }), {
          minLength: 1,
          maxLength: 2,
        }),
        width: fc.integer({ min: 1, max: 4 }),
        lengthPenalty: fc.constantFrom(0, 1, 2),
        earlyStopping: fc.boolean(),
        maxTokens: fc.integer({ min: 1, max: 10 }),
        stopTokenIds: fc.uniqueArray(fc.nat(VOCAB_SIZE - 1), { maxLength: 2 }),
      }),
      { nil: undefined, freq: 3 },
    ),
    draws: requestSequences,
  }),
  { minLength: 1, maxLength: 6 },
);

const tinyRigs = fc.record({
  numBlocks: fc.integer({ min: 4, max: 22 }),
  blockSize: fc.integer({ min: 1, max: 3 }),
  numWatermarkBlocks: fc.nat(2),
  maxModelLen: fc.integer({ min: 8, max: 24 }),
  maxNumSeqs: fc.integer({ min: 2, max: 8 }),
  maxNumBatchedTokens: fc.integer({ min: 3, max: 12 }),
  prefixCache: prefixCaches,
});

/** A request in a rig, and the id of its first sequence there. */
interface Accepted {
  readonly request: GenerationRequest;
  readonly firstId: number;
  readonly abortAt: number | undefined;
}

/**
 * That all beams of a search draw in one step or none does. Returns how many chunks compute again what a
 * preemption has lost.
 */
function checkTogether(batch: Batch, { request, firstId }: Accepted, maxModelLen: number): number {
  const { width } = request.beamSearch!;
  let numRestored = 0;
  for (let at = 0; at < request.sequences.length; at += width) {
    const numPromptTokens = request.sequences[at]!.prompt.length;
    const own = batch.chunks.filter(({ sequenceId: id }) =>
      id >= firstId + at && id < firstId + at + width
    );
    const draws = own.filter(({ draw }) => draw !== undefined);
    numRestored += own.filter(({ start, tokens, draw }) =>
      draw === undefined && start + tokens.length > numPromptTokens
    ).length;
    if (draws.length === 0) {
      continue;
    }
    const position = draws[0]!.start + draws[0]!.tokens.length - 1;
    const { steps } = aloneOf(request, at, maxModelLen);
    assertEquals(draws.length, steps[position - numPromptTokens]?.length ?? 1);
    assertEquals(draws.length, own.length);
  }
  return numRestored;
}

Deno.test("Scheduler answers searches and draws alike in tiny pools, with preemption, aborts and any cache", () => {
  const totals = { preemptions: 0, restored: 0, answered: 0, errors: 0, aborts: 0, copies: 0 };
  fc.assert(
    fc.property(tinyRigs, arrivals, ({ prefixCache, ...sizes }, requests) => {
      const open = new Set<number>();
      const onDecision = ({ type, sequenceId }: KvDecision) => {
        if (type === "queue") open.add(sequenceId);
        if (type === "free" || type === "end") assert(open.delete(sequenceId));
      };
      const rig = rigOf({ ...sizes, onDecision, ...(prefixCache && { prefixCache }) });
      const accepted: Accepted[] = [];
      let firstId = 0;
      let numSteps = 0;
      const step = () => {
        numSteps++;
        rig.step((batch) => {
          totals.copies += batch.copies?.length ?? 0;
          assert(batch.chunks.length <= rig.options.maxNumSeqs);
          for (const one of accepted) {
            if (one.request.beamSearch !== undefined) {
              totals.restored += checkTogether(batch, one, rig.options.maxModelLen);
            }
            if (one.abortAt === numSteps) rig.scheduler.abort(one.request.id);
          }
        });
      };
      requests.forEach(({ gap, abortAfter, beams, draws }, i) => {
        for (let n = 0; n < gap; n++) step();
        const id = `r${i}`;
        const request = beams === undefined
          ? { id, sequences: draws }
          : searchRequest(id, beams.prompts, beams, beams);
        const abortAt = abortAfter === undefined ? undefined : numSteps + abortAfter;
        try {
          rig.add(request);
          accepted.push({ request, firstId, abortAt });
          firstId += request.sequences.length;
        } catch (error) {
          assert(error instanceof RequestError, `${error}`);
        }
      });
      while (rig.scheduler.hasWork) {
        assert(numSteps < 2000, "work left after 2000 steps");
        step();
      }
      rig.finish();
      assertEquals([rig.blocks.numInUse, open.size], [0, 0]);
      for (const { request } of accepted) checkOutcome(rig, request, totals);
      totals.preemptions += rig.scheduler.stats.numPreemptions;
    }),
    { seed: 34, numRuns: runs(6000) },
  );
  const { preemptions, restored, answered, errors, aborts, copies } = totals;
  assert(
    preemptions > times(500) && restored > times(200),
    `${preemptions} preemptions, ${restored} chunks`,
  );
  assert(answered > times(8000) && copies > times(4000), `${answered} answers, ${copies} copies`);
  assert(errors > times(50) && aborts > times(500), `${errors} errors, ${aborts} aborts`);
});

function checkOutcome(
  rig: SchedulerRig,
  request: GenerationRequest,
  totals: { answered: number; errors: number; aborts: number },
): void {
  request.sequences.forEach((sequence, index) => {
    const { finishReason, error } = rig.endOf(request.id, index)!;
    const tokens = rig.tokensOf(request.id, index);
    if (finishReason === "abort") totals.aborts++;
    else if (finishReason === "error") {
      totals.errors++;
      assertEquals(error?.code, "kv_cache_exceeded");
    } else {
      totals.answered++;
      const expected = expectedOf(request, index, rig.options.maxModelLen);
      assertEquals(
        { tokens, finishReason: finishReason! },
        expected,
        `${request.id}/${index} ${sequence.prompt}`,
      );
    }
  });
}

/** What a sequence says by definition, drawn or found by a search. */
function expectedOf(request: GenerationRequest, index: number, maxModelLen: number) {
  const { prompt, params } = request.sequences[index]!;
  if (request.beamSearch === undefined) return generateAlone(prompt, params, maxModelLen);
  const { answers } = aloneOf(request, index, maxModelLen);
  const { outputs, finishReason } = answers[index % request.beamSearch.width]!;
  return { tokens: [...outputs], finishReason };
}

Deno.test("Scheduler preempts a search as a whole and takes it up where it was, in as many blocks", () => {
  for (const prefixCache of [undefined, {}]) {
    const rig = rigOf({ numBlocks: 30, blockSize: 2, ...(prefixCache && { prefixCache }) });
    const request = searchRequest("a", [[1, 2, 0]], search(3), { maxTokens: 12 });
    const { steps } = aloneOf(request, 0, 1000);
    rig.add(request);
    while (rig.runner.batches.length < 9) rig.step();
    const numHeld = rig.blocks.numInUse;
    const draws = (batch: Batch | undefined) => batch!.chunks.filter(({ draw }) => draw);
    assertEquals(rig.scheduler.resetPrefixCache(true), 1);
    assertEquals([rig.blocks.numInUse, rig.scheduler.stats.numWaiting], [0, 1]);
    let batch = rig.step();
    assertEquals(chunksOf(batch), [[batch!.chunks[0]!.sequenceId, 0, 3 + 8]], "the likeliest");
    while (draws(batch).length === 0) batch = rig.step();
    assertEquals(draws(batch).map(({ start }) => start), steps[8]!.map(() => 3 + 8));
    const tokens = steps[8]!.map(({ outputs }) => [1, 2, 0, ...outputs]);
    const distinct = new Set(batch!.chunks.flatMap(({ blockTables }) => blockTables[0]!)).size;
    assertEquals(distinct, numTrieBlocks(tokens, 2));
    assert(distinct <= numHeld + 2, `${distinct} blocks, ${numHeld} before`);
    rig.finish();
    checkAnswers(rig, request);
  }
});

Deno.test("Scheduler lets nobody start behind a search that computes beams again, since it takes the budget", () => {
  for (const first of [0, 1, 2, 3, 4, 5, 6]) {
    for (let numSteps = 5; numSteps < 9; numSteps++) {
      const rig = rigOf({ maxNumBatchedTokens: 4 });
      const request = searchRequest("a", [[first]], search(2), { maxTokens: 12 });
      rig.add(request);
      while (rig.runner.batches.length < numSteps) rig.step();
      rig.scheduler.resetPrefixCache(true);
      rig.add(requestOf("b", 1));
      rig.finish();
      checkAnswers(rig, request);
    }
  }
});

Deno.test("Scheduler keeps seats for all beams of a search from its admission on", () => {
  const rig = rigOf({ maxNumSeqs: 4, maxNumBatchedTokens: 8 });
  rig.add(searchRequest("a", [[1, 2]], search(3)), requestOf("b", 1), requestOf("c", 1));
  assertEquals(chunksOf(rig.step()), [[0, 0, 2], [3, 0, 1]]);
  assertEquals(rig.step()!.chunks.length, 4);
  assertEquals([rig.scheduler.stats.numRunning, rig.scheduler.stats.numWaiting], [4, 1]);
});

Deno.test("Scheduler refuses a search that can never fit, with the numbers and without a trace", () => {
  const rig = rigOf({ numBlocks: 4, blockSize: 2, maxNumSeqs: 3 });
  const before = rig.scheduler.stats;
  for (const [prompt, width] of [[[1], 4], [[1, 2, 1, 2], 3]] as const) {
    const { data } = assertThrows(
      () => rig.add(searchRequest("a", [prompt], search(width))),
      RequestError,
    );
    assertEquals(data.status, 400);
  }
  assertEquals(rig.scheduler.stats, before);
});

Deno.test("Scheduler ends a lone search whose beams cannot grow with the numbers, and frees its blocks", () => {
  const rig = rigOf({ numBlocks: 4, blockSize: 2 });
  rig.add(searchRequest("a", [[1, 2]], search(3), { maxTokens: 20 }));
  rig.finish();
  for (const index of [0, 1, 2]) {
    const { finishReason, error } = rig.endOf("a", index)!;
    assertEquals([finishReason, error?.code], ["error", "kv_cache_exceeded"]);
    assertStringIncludes(error!.message, "beams of the search have");
    assertEquals(error!.details!.n_kv_cache_blocks, 4);
    assert((error!.details!.n_blocks as number) > 4);
  }
  assertEquals(rig.blocks.numFree, 4);
});

Deno.test("PoolSizing.shortage() tells all that a search's beams and forks take next", () => {
  const request = searchRequest("a", [[1, 2, 1]], search(6), { maxTokens: 12 });
  const rig = rigOf({ numBlocks: 7, blockSize: 2 });
  rig.add(request);
  while (rig.scheduler.hasWork) {
    const { numBlocks } = rig.blocks;
    const { numMissing = 0 } = rig.scheduler.pool.shortage() ?? {};
    // With one block less the search would end with an error; so much is enough.
    if (numMissing > 0) rig.resize(numBlocks + numMissing);
    rig.step();
  }
  checkAnswers(rig, request);
  assert(rig.blocks.numBlocks > 12);
});

Deno.test("Scheduler.abort() of a search, or of one of its answers, ends all and frees every block", () => {
  for (const index of [undefined, 2]) {
    for (const isInFlight of [false, true]) {
      const rig = rigOf();
      rig.add(searchRequest("a", [[1, 2, 1], [2, 2]], search(3), { maxTokens: 20 }));
      for (let n = 0; n < 3; n++) rig.step();
      const abort = () => rig.scheduler.abort("a", index);
      if (isInFlight) rig.step(abort);
      else abort();
      rig.step(() => {});
      const ended = [0, 1, 2, 3, 4, 5].map((i) => rig.endOf("a", i)?.finishReason);
      const other = index === undefined ? "abort" : undefined;
      assertEquals(ended, ["abort", "abort", "abort", other, other, other]);
      rig.scheduler.abort("a");
      rig.finish(1);
      assertEquals(rig.blocks.numFree, rig.blocks.numBlocks);
    }
  }
});

Deno.test("Scheduler reports a search's answers at its end only, with log-probabilities if asked for", () => {
  const rig = rigOf();
  const request = searchRequest("a", [[1]], search(2), { numLogprobs: 1, maxTokens: 3 });
  rig.add(request);
  rig.step();
  rig.step();
  assertEquals(rig.events, []);
  rig.step();
  const { answers } = aloneOf(request, 0, 1000);
  for (const index of [0, 1]) {
    const own = rig.events.filter((event) => event.index === index);
    assertEquals(own.length, 3);
    assertEquals(own.map(({ numCachedTokens }) => numCachedTokens), [0, undefined, undefined]);
    assert(own.every(({ topLogprobs }) => topLogprobs!.length === 1));
    const sum = own.reduce((total, { logprob }) => total + logprob!, 0);
    assertEquals(sum, answers[index]!.sum);
  }
});

Deno.test("Scheduler logs every beam from its queueing to the return of its blocks", () => {
  const decisions: KvDecision[] = [];
  const rig = rigOf({ onDecision: (decision) => decisions.push(decision) });
  rig.add(searchRequest("a", [[1, 2, 1]], search(3), { maxTokens: 8 }));
  rig.finish();
  const count = (type: KvDecision["type"]) => decisions.filter((one) => one.type === type).length;
  assert(count("queue") > 3, "beams fork again and again");
  assertEquals([count("admit"), count("free")], [count("queue"), count("queue")]);
  const ids = new Set(decisions.map(({ sequenceId }) => sequenceId));
  assertEquals([...ids].sort(), [0, 1, 2]);
});
