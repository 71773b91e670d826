import { assertEquals } from "@std/assert";
import { describeDecision } from "../../src/core/describe_decision.ts";
import type { LoggedDecision } from "../../src/core/kv_decision.ts";

Deno.test("describeDecision() says who, when and with which numbers", () => {
  const base = { sequenceId: 5, step: 3 };
  const named = { ...base, requestId: "r", index: 1 };
  const numbers = { numNeeded: 4, numFree: 2, numEvictable: 1 };
  const lines: [LoggedDecision, string][] = [
    [{ ...base, type: "free", numBlocks: 2 }, "step 3: sequence 5 ends and gives 2 blocks back"],
    [
      { ...named, type: "end", reason: "abort" },
      "step 3: r[1] ends while it waits, without blocks (abort)",
    ],
    [
      { ...named, type: "queue", numTokens: 9 },
      "step 3: r[1] queues with 9 tokens",
    ],
    [
      { ...named, type: "wait", reason: "blocks", ...numbers },
      "step 3: r[1] waits: 4 blocks needed, 2 free, 1 evictable",
    ],
    [
      { ...named, type: "wait", reason: "shared_prefix", ...numbers },
      "step 3: r[1] waits: another sequence computes a prefix it can share " +
      "(4 blocks needed, 2 free, 1 evictable)",
    ],
    [
      { ...named, type: "wait", reason: "seats", numNeeded: 4, numTaken: 5, limit: 8 },
      "step 3: r[1] waits: 4 sequences of a step needed, 5 of 8 taken (--max-num-seqs)",
    ],
    [
      { ...named, type: "wait", reason: "tokens", limit: 512 },
      "step 3: r[1] waits: all 512 tokens of the step are taken (--max-num-batched-tokens)",
    ],
    [
      { ...named, type: "wait", reason: "state_snapshot", promptId: 2 },
      "step 3: r[1] waits: sequence 2 computes its prompt up to where its states are kept",
    ],
    [
      { ...named, type: "wait", reason: "recomputation", searchId: 2 },
      "step 3: r[1] waits: the beams of sequence 2 are computed again first",
    ],
    [
      { ...named, type: "wait", reason: "queue", headId: 2, numWaiting: 7 },
      "step 3: r[1] waits: sequence 2 is the head of the queue of 7",
    ],
    [
      {
        ...named,
        type: "swap_out",
        numBlocks: 5,
        bytes: 3 * 2 ** 20,
        swapMs: 1.26,
        recomputeMs: 40,
      },
      "step 3: r[1] has 5 blocks copied to host memory (3 MiB: 1.3 ms there and back, " +
      "40.0 ms to compute)",
    ],
    [
      { ...named, type: "recompute", reason: "cheaper", bytes: 1024, swapMs: 2, recomputeMs: 1 },
      "step 3: r[1] will be computed again: copying takes longer (1 KiB: 2.0 ms there and back, " +
      "1.0 ms to compute)",
    ],
    [
      { ...named, type: "recompute", reason: "unmeasured" },
      "step 3: r[1] will be computed again: what computing takes has not been measured yet",
    ],
    [
      { ...named, type: "swap_in", numBlocks: 5, bytes: 3 * 2 ** 20, numTokens: 70 },
      "step 3: r[1] has 5 blocks copied back from host memory (3 MiB), up to token 70",
    ],
    [
      { ...named, type: "swap_drop", reason: "corrupt" },
      "step 3: r[1] is computed again in spite of its blocks in host memory: a checksum does not " +
      "match",
    ],
    [
      { ...named, type: "copy", group: 0, from: 7, to: 8, numTokens: 3 },
      "step 3: r[1] copies 3 tokens of block 7 to block 8",
    ],
    [
      { step: 3, type: "resize", numBefore: 8, numAfter: 4, numEvicted: 3, numMoved: 2 },
      "step 3: an operator has the pool resized from 8 to 4 blocks, 3 evicted, 2 moved",
    ],
    [
      { ...named, type: "refuse_growth", numBlocks: 8, numWanted: 16 },
      "step 3: r[1] wants a pool of 16 blocks: the device has no memory for it, it stays at 8",
    ],
  ];
  for (const [decision, line] of lines) assertEquals(describeDecision(decision), line);
});
