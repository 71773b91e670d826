import { assert, assertEquals } from "@std/assert";
import { ThinkingBudget } from "../../src/scheduler/thinking_budget.ts";
import { LogitAdjuster } from "../../src/scheduler/logit_adjuster.ts";
import { tokensOf } from "../support/grammar_sampler.ts";
import { requestOf, samplingParams } from "../support/requests.ts";
import { SchedulerRig } from "../support/scheduler_rig.ts";

const END = [40, 41, 42];

function budget(maxTokens: number, beginTokens: number[] = []): ThinkingBudget {
  return new ThinkingBudget({ maxTokens, beginTokens, endTokens: END, vocabSize: 50 });
}

/** What may be drawn after each token: -1 for anything, or the one that is forced. */
function forced(thinking: ThinkingBudget, tokens: readonly number[]): number[] {
  return tokens.map((token) => {
    thinking.count(token);
    const allowed = thinking.allowedTokens;
    return allowed === undefined ? -1 : tokensOf(allowed)[0]!;
  });
}

Deno.test("ThinkingBudget forces the end of a thought, token by token, and nothing after it", () => {
  assertEquals(forced(budget(2), [1, 2, 40, 41, 42, 3]), [-1, 40, 41, 42, -1, -1]);
  assertEquals(tokensOf(budget(0).allowedTokens!), [40]);
});

Deno.test("ThinkingBudget goes on with an end that the model has begun, and leaves one that it wrote", () => {
  assertEquals(forced(budget(3), [1, 40, 41, 42, 5]), [-1, -1, 42, -1, -1]);
  assertEquals(
    forced(budget(9), [1, 40, 41, 42, 5, 6, 7, 8, 9, 9, 9]).every((one) => one === -1),
    true,
  );
  assertEquals(forced(budget(3), [40, 40, 40, 41, 42]), [-1, -1, 41, 42, -1]);
});

Deno.test("ThinkingBudget begins with the mark, and an answer without one is no thought", () => {
  assertEquals(forced(budget(1, [7, 8]), [7, 8, 1, 40, 41, 42]), [-1, -1, 40, 41, 42, -1]);
  assertEquals(forced(budget(0, [7, 8]), [7, 8, 40]), [-1, 40, 41]);
  assertEquals(forced(budget(0, [7, 8]), [7, 9, 1, 2]), [-1, -1, -1, -1]);
});

Deno.test("a budget is an adjustment of its own, and outlasts a preemption", () => {
  const thinkingBudget = { maxTokens: 2, beginTokens: [], endTokens: [3, 4], vocabSize: 17 };
  const adjuster = LogitAdjuster.create(samplingParams({ thinkingBudget }), Uint32Array.of(1))!;
  assertEquals(adjuster.adjustment(), undefined);
  adjuster.count(1);
  adjuster.count(2);
  assertEquals(tokensOf(adjuster.adjustment()!.allowedTokens!), [3]);

  const masks = (options: { numBlocks: number }) => {
    const rig = new SchedulerRig({ blockSize: 1, ...options });
    rig.add(
      requestOf("a", 3, { maxTokens: 8 }),
      requestOf("b", 3, { maxTokens: 8, thinkingBudget }),
    );
    rig.finish();
    const seen = new Map(
      rig.runner.batches.flatMap(({ chunks }) =>
        chunks.filter(({ sequenceId, draw }) => sequenceId === 1 && draw !== undefined)
          .map(({ draw }) => [draw!.outputIndex, draw!.adjustment?.allowedTokens] as const)
      ),
    );
    return { seen, numPreemptions: rig.scheduler.stats.numPreemptions };
  };
  const tight = masks({ numBlocks: 14 });
  assert(tight.numPreemptions > 0);
  assertEquals(tight.seen, masks({ numBlocks: 100 }).seen);
});
