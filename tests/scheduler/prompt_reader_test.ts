import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { PromptReadout } from "../../src/core/prompt_readout.ts";
import { POOLINGS } from "../../src/core/prompt_readout.ts";
import { PromptReader } from "../../src/scheduler/prompt_reader.ts";
import { FAKE_VOCAB_SIZE, readAlone } from "../support/paged_fake_runner.ts";
import { samplingParams } from "../support/requests.ts";
import { runs } from "../support/runs.ts";
import { SchedulerRig } from "../support/scheduler_rig.ts";

const Token = fc.nat({ max: FAKE_VOCAB_SIZE - 1 });

const Readout: fc.Arbitrary<PromptReadout> = fc.record({
  numLogprobs: fc.nat({ max: 3 }),
  nextTokens: fc.array(Token, { minLength: 1, maxLength: 3 }),
  pooling: fc.constantFrom(...POOLINGS),
}, { requiredKeys: [] });

const Sequence = fc.record({
  // Few different tokens, so that prompts begin alike.
  prompt: fc.array(fc.nat({ max: 1 }), { minLength: 1, maxLength: 30 }),
  readout: fc.option(Readout, { nil: undefined }),
  maxTokens: fc.nat({ max: 12 }),
  atStep: fc.nat({ max: 6 }),
});

Deno.test("whatever is read of prompts is the same alone and among others, cached and preempted", () => {
  let numPreemptions = 0;
  let numHitTokens = 0;
  fc.assert(
    fc.property(
      fc.array(Sequence, { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 2, max: 20 }),
      fc.integer({ min: 22, max: 36 }),
      (all, maxNumBatchedTokens, numBlocks) => {
        const rig = new SchedulerRig({ numBlocks, maxNumBatchedTokens, prefixCache: {} });
        for (let step = 0; step <= 6; step++) {
          all.forEach(({ prompt, readout, maxTokens, atStep }, i) => {
            if (atStep !== step) return;
            const params = samplingParams({ maxTokens });
            const own = readout === undefined ? {} : { readout };
            const sequence = { prompt: Uint32Array.from(prompt), params, ...own };
            rig.add({ id: String(i), sequences: [sequence] });
          });
          rig.step();
        }
        rig.finish();
        all.forEach(({ prompt, readout, maxTokens }, i) => {
          const events = rig.events.filter(({ requestId }) => requestId === String(i));
          assertEquals(rig.tokensOf(String(i)).length, maxTokens);
          assertEquals(rig.endOf(String(i))?.finishReason, "length");
          const reports = events.map((event) => event.prompt);
          const expected = readout === undefined ? undefined : readAlone(prompt, readout);
          assertEquals(reports[0], expected);
          assert(reports.slice(1).every((report) => report === undefined));
        });
        numPreemptions += rig.scheduler.stats.numPreemptions;
        numHitTokens += rig.scheduler.stats.numHitTokens;
      },
    ),
    { numRuns: runs(200), seed: 13 },
  );
  assert(numPreemptions > 0 && numHitTokens > 0, `${numPreemptions} and ${numHitTokens}`);
});

Deno.test("PromptReader lets the cache have what need not be read, or has been", () => {
  const prompt = Uint32Array.of(1, 2, 3, 4, 5);
  const limits: [PromptReadout, number, number, number][] = [
    [{ numLogprobs: 0 }, 0, 2, Infinity],
    [{ pooling: "mean" }, 0, 2, Infinity],
    [{ pooling: "cls" }, 0, 4, Infinity],
    [{ pooling: "last" }, 4, 4, Infinity],
    [{ nextTokens: [7] }, 4, 4, Infinity],
    [{ nextTokens: [7], numLogprobs: 1 }, 0, 2, Infinity],
  ];
  for (const [readout, ...expected] of limits) {
    const reader = new PromptReader(readout, prompt);
    const before = reader.maxCachedTokens;
    reader.advance(2);
    const within = reader.maxCachedTokens;
    reader.advance(6);
    assertEquals([before, within, reader.maxCachedTokens], expected, JSON.stringify(readout));
  }
});

Deno.test("PromptReader asks for no position twice, and for none behind the prompt", () => {
  const reader = new PromptReader({ numLogprobs: 2, pooling: "mean" }, Uint32Array.of(9, 8, 7, 6));
  const first = reader.readingsOf(0, 2);
  assertEquals([...first.score!.rows, ...first.score!.tokens], [0, 1, 8, 7]);
  assertEquals(first.pooling, { firstRow: 0, numRows: 2 });
  reader.advance(2);
  // Computed anew after a preemption, and further on.
  const again = reader.readingsOf(1, 6);
  assertEquals([...again.score!.rows, ...again.score!.tokens], [1, 6]);
  assertEquals(again.pooling, { firstRow: 1, numRows: 2 });
  reader.advance(6);
  assertEquals(reader.readingsOf(0, 6), {});
});
