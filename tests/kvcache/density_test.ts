import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import {
  fillHomogeneous,
  fillSeparate,
  fillUnified,
  groupsOf,
  HYBRID_MODELS,
  LAYER_BYTES_PER_TOKEN,
} from "../../bench/hybrid_models.ts";
import { planSlabs } from "../../src/core/slab_layout.ts";

const [LLAMA_VISION, GEMMA, MINISTRAL] = HYBRID_MODELS;
const GIB = 2 ** 30;

Deno.test("R7: homogeneous pages waste 0.7959, 0.25 and 0.5625 by the formula", () => {
  const shares = HYBRID_MODELS.map((model) => Number(model.wastedShare.toFixed(4)));
  assertEquals(shares, [0.7959, 0.25, 0.5625]);
});

Deno.test("R7: the pool itself wastes what the formula says, in the same bytes", () => {
  for (
    const [model, tokensPerBlock] of [[LLAMA_VISION, 1], [GEMMA, 16], [MINISTRAL, 16]] as const
  ) {
    const sizes = { poolBytes: 24 * GIB, tokensPerBlock };
    const workload = model!.workloads[0]!;
    const homogeneous = fillHomogeneous(model!, workload, sizes);
    const unified = fillUnified(model!, workload, sizes);
    const share = 1 - unified.requestBytes / homogeneous.requestBytes;
    assertAlmostEquals(share, model!.wastedShare, 1e-12, model!.name);
    const gain = unified.numRequests / homogeneous.numRequests;
    assert(gain >= Math.floor(1 / (1 - share)), `${model!.name}: ${gain} times the requests`);
  }
});

Deno.test("R7: blocks of 16 positions round the waste of 43 text tokens to 0.7949", () => {
  const sizes = { poolBytes: 24 * GIB, tokensPerBlock: 16 };
  const workload = LLAMA_VISION!.workloads[0]!;
  const homogeneous = fillHomogeneous(LLAMA_VISION!, workload, sizes).requestBytes;
  const unified = fillUnified(LLAMA_VISION!, workload, sizes).requestBytes;
  assertEquals(homogeneous, 6240 * 40 * LAYER_BYTES_PER_TOKEN);
  assertEquals(unified, (48 * 32 + 6208 * 8) * LAYER_BYTES_PER_TOKEN);
  assertEquals((1 - unified / homogeneous).toFixed(4), "0.7949");
});

Deno.test("R7: one pool holds as many requests as any division, whatever the requests are", () => {
  const sizes = { poolBytes: 24 * GIB, tokensPerBlock: 16 };
  for (const model of HYBRID_MODELS) {
    let numWorse = 0;
    for (const workload of model.workloads) {
      const unified = fillUnified(model, workload, sizes).numRequests;
      const homogeneous = fillHomogeneous(model, workload, sizes).numRequests;
      const separate = fillSeparate(model, workload, sizes).numRequests;
      assert(unified >= homogeneous, `${workload.name}: ${unified} against ${homogeneous}`);
      assert(unified >= separate, `${workload.name}: ${unified} against ${separate}`);
      if (separate < unified) numWorse++;
    }
    assert(numWorse > 0, `${model.name}: a division suits both kinds of request`);
  }
});

Deno.test("groupsOf() gives blocks whose slabs need no padding", () => {
  const blocksPerSlab = HYBRID_MODELS.map((model) =>
    planSlabs(groupsOf(model, 16).map((spec) => spec.blockBytes)).cuts
      .map((cut) => cut.blocksPerSlab)
  );
  assertEquals(blocksPerSlab, [[1, 4], [1, 1], [3, 1]]);
});
