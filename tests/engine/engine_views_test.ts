import { assert, assertEquals } from "@std/assert";
import type { EngineCommand, ReplyOf } from "../../src/core/engine_command.ts";
import { Engine } from "../../src/engine/engine.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { Outbox } from "../support/outbox.ts";
import { requestOf } from "../support/requests.ts";
import { type RigOptions, SchedulerRig } from "../support/scheduler_rig.ts";

const VIEW = { type: "view", maxNumRuns: 10, maxNumSequences: 100 } as const;

/** An engine over a fake model, and how often its cache was looked at. */
class Viewed {
  readonly clock = new ManualClock();
  readonly outbox = new Outbox();
  readonly rig: SchedulerRig;
  readonly engine: Engine;
  readonly #loop: Promise<void>;
  numMaps = 0;
  #nextId = 0;

  constructor(options: RigOptions = {}) {
    this.rig = new SchedulerRig({ prefixCache: { now: () => 0 }, blockSize: 2, ...options });
    const { scheduler, runner, blocks } = this.rig;
    this.engine = new Engine({
      scheduler,
      runner: {
        run: (batch) => {
          this.clock.advance(10);
          return runner.run(batch);
        },
      },
      post: this.outbox.post,
      clock: this.clock,
      viewed: {
        blockSize: blocks.blockSize,
        cacheGroups: blocks.cacheGroups,
        mapBlocks: () => {
          this.numMaps++;
          return blocks.mapBlocks();
        },
        viewTree: (count) => blocks.viewTree(count),
        tokensAlong: (path) => blocks.tokensAlong(path),
      },
    });
    this.#loop = this.engine.loop();
  }

  async command<C extends EngineCommand>(command: C): Promise<ReplyOf<C>> {
    const id = this.#nextId++;
    this.engine.command(id, command);
    for (;;) {
      const reply = this.outbox.messages.find((each) => each.type === "reply" && each.id === id);
      if (reply?.type === "reply") return reply.value as ReplyOf<C>;
      await new Promise((resolve) => setTimeout(resolve));
    }
  }

  async run(id: string, numPrompt: number, maxTokens: number): Promise<void> {
    this.engine.submit(requestOf(id, numPrompt, { maxTokens }));
    await this.outbox.untilEnd(id);
  }

  async finish(): Promise<void> {
    this.engine.stop();
    await this.#loop;
  }
}

Deno.test("Engine looks at nothing and logs nothing until it is asked for a view", async () => {
  const viewed = new Viewed();
  await viewed.run("a", 4, 3);
  assertEquals(viewed.numMaps, 0);
  const view = await viewed.command(VIEW);
  assertEquals([view.steps, view.chunks, view.sequences, view.step], [[], [], [], 3]);
  assertEquals([view.blockSize, view.groups], [2, ["full"]]);
  const { runs, numBlocks } = view.tree!;
  assertEquals([runs.length, numBlocks], [1, 3]);
  assertEquals(view.blocks.states.filter((state) => state === 1).length, 3);
  await viewed.finish();
});

Deno.test("Engine logs the steps and chunks between two views, and gives up when nobody asks", async () => {
  const viewed = new Viewed({ maxNumBatchedTokens: 4 });
  await viewed.command(VIEW);
  await viewed.run("a", 7, 2);
  const { steps, chunks } = await viewed.command(VIEW);
  assertEquals(steps.map(({ step, stepMs, numTokens }) => [step, stepMs, numTokens]), [
    [0, 10, 4],
    [1, 10, 3],
    [2, 10, 1],
  ]);
  for (const { stepMs, scheduleMs, hostMs, deviceMs } of steps) {
    assertEquals(scheduleMs + hostMs + deviceMs, stepMs);
  }
  assertEquals(chunks.map(({ step, start, count }) => [step, start, count]), [[0, 0, 4], [
    1,
    4,
    3,
  ]]);
  viewed.clock.advance(5001);
  await viewed.run("b", 7, 2);
  const later = await viewed.command(VIEW);
  assertEquals([later.steps, later.chunks], [[], []]);
  await viewed.finish();
});

Deno.test("Engine shows who runs and who waits, and how many it leaves out", async () => {
  const viewed = new Viewed({ maxNumSeqs: 1 });
  for (const id of ["a", "b", "c"]) {
    viewed.engine.submit(requestOf(id, 3, { maxTokens: 500 }));
  }
  await viewed.outbox.until(() => viewed.outbox.types.includes("events"));
  const view = await viewed.command({ ...VIEW, maxNumSequences: 2, maxNumRuns: 0 });
  assertEquals(view.sequences.map(({ requestId, state }) => [requestId, state]), [
    ["a", "running"],
    ["b", "waiting"],
  ]);
  const [running] = view.sequences;
  assert(running!.numTokens > 3 && running!.numPromptTokens === 3);
  assertEquals([view.numHidden, view.tree], [1, undefined]);
  const aborted = await viewed.command({ type: "abort_request", requestId: "a" });
  assertEquals(aborted, { numSequences: 1 });
  await viewed.outbox.untilEnd("a");
  const ofFirst = viewed.outbox.events.filter(({ requestId }) => requestId === "a");
  assertEquals(ofFirst.at(-1)?.finishReason, "abort");
  const none = await viewed.command({ type: "abort_request", requestId: "a" });
  assertEquals(none, { numSequences: 0 });
  for (const id of ["b", "c"]) viewed.engine.abort(id);
  await viewed.finish();
});

Deno.test("Engine tells the tokens of a path that a view has named, in its scope alone", async () => {
  const viewed = new Viewed();
  const request = requestOf("a", 4, { maxTokens: 1 });
  viewed.engine.submit(request);
  await viewed.outbox.untilEnd("a");
  const { tree } = await viewed.command(VIEW);
  const { node, hash } = tree!.runs[0]!;
  const { tokens } = await viewed.command({ type: "read_path", node, hash });
  assertEquals(tokens, request.sequences[0]!.prompt);
  const other = { type: "read_path", node, hash, cacheScope: "another" } as const;
  assertEquals((await viewed.command(other)).tokens, undefined);
  await viewed.finish();
});
