import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { EngineConfig, EngineInfo } from "../../src/core/engine_config.ts";
import { EngineUnavailableError, RequestError } from "../../src/core/errors.ts";
import type { Generation, GenerationRequest } from "../../src/core/generation.ts";
import type { TokenEvent } from "../../src/core/token_event.ts";
import { EngineClient } from "../../src/engine/client.ts";
import { requestSequences, sequenceRequests, tinyCachingRigs } from "../support/arbitraries.ts";
import { CLIENT_CONFIG } from "../support/client_rig.ts";
import { FAKE_INFO } from "../support/fake_worker.ts";
import { FAKE_VOCAB_SIZE, generateAlone, PagedFakeRunner } from "../support/paged_fake_runner.ts";
import { runs, times } from "../support/runs.ts";
import { type RigOptions, SchedulerRig } from "../support/scheduler_rig.ts";
import { type Loss, SessionWorker } from "../support/session_worker.ts";

/** One thing that a caller does. */
type Action =
  | { readonly verb: "submit"; readonly request: Omit<GenerationRequest, "id"> }
  /** `pick` chooses among the requests so far; without `index`, all its sequences. */
  | { readonly verb: "abort"; readonly pick: number; readonly index: number | undefined }
  /** Lets what else there is go on, for so many turns of the event loop. */
  | { readonly verb: "wait"; readonly numTurns: number };

const searches = sequenceRequests.map((sequence) => ({
  sequences: [sequence, sequence],
  beamSearch: { width: 2, lengthPenalty: 1, earlyStopping: false },
}));

const actions: fc.Arbitrary<Action[]> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        verb: fc.constant("submit" as const),
        request: fc.oneof(
          { weight: 5, arbitrary: requestSequences.map((sequences) => ({ sequences })) },
          { weight: 1, arbitrary: searches },
        ),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        verb: fc.constant("abort" as const),
        pick: fc.nat(20),
        index: fc.option(fc.nat(2), { nil: undefined }),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        verb: fc.constant("wait" as const),
        numTurns: fc.integer({ min: 1, max: 12 }),
      }),
    },
  ),
  { minLength: 4, maxLength: 24 },
);

/** Engines that are lost one after the other, some at once and some after a while. */
const losses: fc.Arbitrary<Loss[]> = fc.array(
  fc.record({
    step: fc.nat(12),
    kind: fc.constantFrom("lost", "lost", "silent", "silent", "memory"),
  }),
  { minLength: 1, maxLength: 8 },
);

/** A request that the client has taken, and what comes of it. */
interface Accepted {
  readonly request: GenerationRequest;
  readonly generation: Generation;
  readonly events: Promise<TokenEvent[]>;
  readonly aborted: Set<number>;
}

/** Plays a history on a client whose isolates are sessions that are lost as planned. */
class History {
  readonly client: EngineClient;
  readonly accepted: Accepted[] = [];
  readonly info: EngineInfo;
  readonly #config: EngineConfig;
  readonly #submissions: Promise<void>[] = [];

  constructor(sizes: RigOptions, losses: readonly Loss[]) {
    const { prefixCache, maxNumQueuedSeqs } = new SchedulerRig(sizes).options;
    const { numBlocks = 1, blockSize = 1, maxModelLen = 1, maxNumSeqs = 1 } = sizes;
    const { maxNumBatchedTokens = 1 } = sizes;
    const limits = { numBlocks, blockSize, maxModelLen, maxNumSeqs, maxNumBatchedTokens };
    this.info = { ...FAKE_INFO, ...limits, maxNumBlocks: numBlocks, vocabSize: FAKE_VOCAB_SIZE };
    const enablePrefixCaching = prefixCache !== undefined;
    const config = { ...CLIENT_CONFIG, enablePrefixCaching, maxNumQueuedSeqs, maxModelLen };
    this.#config = { ...config, numBlocksOverride: numBlocks };
    const left = [...losses];
    this.client = new EngineClient({
      restart: { maxNumFailures: 0, initialDelayMs: 0 },
      spawn: () =>
        new SessionWorker({
          startRunner: ({ numBlocksOverride = 0 }) => {
            const info = { ...this.info, numBlocks: numBlocksOverride };
            const runner = new PagedFakeRunner(info);
            return Promise.resolve({ runner, info, modelFingerprint: "fake" });
          },
          loss: left.shift(),
        }),
    });
  }

  async play(actions: readonly Action[]): Promise<void> {
    await this.client.start(this.#config);
    for (const [i, action] of actions.entries()) {
      if (action.verb === "submit") {
        this.#submissions.push(this.#submit({ id: `r${i}`, ...action.request }));
      }
      if (action.verb === "abort") this.#abort(action.pick, action.index);
      if (action.verb === "wait") await turns(action.numTurns);
    }
    await Promise.all(this.#submissions);
    await Promise.all(this.accepted.map(({ events }) => events));
    while (this.client.state !== "ready") await turns(1);
  }

  async #submit(request: GenerationRequest): Promise<void> {
    try {
      const generation = await this.client.submit(request);
      const events = Array.fromAsync(generation.events).then((steps) => steps.flat());
      this.accepted.push({ request, generation, events, aborted: new Set() });
    } catch (error) {
      assert(error instanceof RequestError || error instanceof EngineUnavailableError, `${error}`);
    }
  }

  #abort(pick: number, index: number | undefined): void {
    if (this.accepted.length === 0) return;
    const { request, generation, aborted } = this.accepted[pick % this.accepted.length]!;
    generation.abort(index);
    const { width = 1 } = request.beamSearch ?? {};
    request.sequences.forEach((_, i) => {
      const isMeant = index === undefined || Math.floor(i / width) === Math.floor(index / width);
      if (isMeant) aborted.add(i);
    });
  }

  /** What a request has alone, of each sequence. */
  alone({ beamSearch, sequences }: GenerationRequest) {
    const { maxModelLen, blockSize } = this.info;
    if (beamSearch === undefined) {
      return sequences.map(({ prompt, params }) => generateAlone(prompt, params, maxModelLen));
    }
    const rig = new SchedulerRig({ maxModelLen, blockSize });
    rig.add({ id: "alone", sequences, beamSearch });
    rig.finish();
    return sequences.map((_, index) => ({
      tokens: rig.tokensOf("alone", index),
      finishReason: rig.endOf("alone", index)!.finishReason!,
    }));
  }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setTimeout(resolve, 0));
}

/** Checks the answer of a sequence; returns whether it was ended for what engines were lost by. */
async function checkAnswer(
  { events: promise, aborted }: Accepted,
  index: number,
  alone: ReturnType<History["alone"]>[number],
): Promise<boolean> {
  const events = (await promise).filter((event) => event.index === index);
  const tokens = events.flatMap(({ token }) => token ?? []);
  const ends = events.filter(({ finishReason }) => finishReason !== undefined);
  assertEquals([ends.length, events.at(-1)], [1, ends[0]]);
  const { finishReason, error } = ends[0]!;
  if (finishReason === "abort") assert(aborted.has(index));
  if (finishReason !== "abort" && finishReason !== "error") {
    assertEquals({ tokens, finishReason: finishReason! }, alone);
    return false;
  }
  assertEquals(tokens, alone.tokens.slice(0, tokens.length), "what it has is of its answer");
  if (finishReason === "error") {
    assert(["kv_cache_exceeded", "engine_lost"].includes(error!.code!), error!.message);
  }
  return error?.code === "engine_lost";
}

Deno.test("EngineClient gives every request its answer over any arrivals, aborts and losses", async () => {
  let numReplayed = 0;
  let numLost = 0;
  let numDropped = 0;
  await fc.assert(
    fc.asyncProperty(tinyCachingRigs, actions, losses, async (sizes, actions, losses) => {
      const history = new History(sizes, losses);
      const { client, accepted } = history;
      await history.play(actions);
      let numTokens = 0;
      const numDroppedBefore = numDropped;
      for (const answer of accepted) {
        const alone = history.alone(answer.request);
        const { sequences } = answer.request;
        for (const index of sequences.keys()) {
          if (await checkAnswer(answer, index, alone[index]!)) numDropped++;
        }
        numTokens += (await answer.events).filter(({ token }) => token !== undefined).length;
      }
      const { numLosses, numGeneratedTokens, numResumedRequests } = client.stats;
      if (numDropped > numDroppedBefore) assert(numLosses >= 3, `after ${numLosses} losses`);
      assertEquals(numGeneratedTokens, numTokens, "each token counts once");
      await client.command({ type: "check_integrity" });
      const { numFreeBlocks, numCachedBlocks, numBlocks } = client.stats;
      assertEquals([client.numInFlight, numFreeBlocks + numCachedBlocks], [0, numBlocks]);
      client.close();
      numReplayed += numResumedRequests;
      numLost += numLosses;
    }),
    { seed: 14, numRuns: runs(300) },
  );
  assert(numReplayed > times(200), `only ${numReplayed} requests were replayed`);
  assert(numLost > times(200), `only ${numLost} engines were lost`);
  assert(numDropped < numReplayed / 10, `${numDropped} of ${numReplayed} were dropped`);
});
