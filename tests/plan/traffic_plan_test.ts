import { assert, assertEquals } from "@std/assert";
import type { ModelShape } from "../../src/plan/model_shape.ts";
import { presetShape } from "../../src/server/model_shape.ts";
import { planTraffic, typicalTraffic } from "../../src/plan/traffic_plan.ts";

const QWEN = presetShape("qwen3-0.6b")!;
const OPTIONS = { memoryBytes: 2 ** 30, blockSize: 16, maxModelLen: 2048, dtype: "f16" } as const;

Deno.test("planTraffic() gives each allocator the sequences that its mean reservation allows", () => {
  const requests = [{ promptLen: 1000, outputLen: 40 }];
  const { allocators } = planTraffic(QWEN, { name: "one", requests }, OPTIONS);
  const numSequences = (name: string, blockSize?: number) =>
    allocators.find((row) => row.allocator === name && row.blockSize === blockSize)?.numSequences;
  // 1 GiB is 9,362.3 tokens.
  assertEquals(numSequences("contiguous"), 4);
  assertEquals(numSequences("power_of_two"), Math.floor(9362 / 1064));
  assertEquals(numSequences("exact"), Math.floor(9362 / 1040));
  assertEquals(numSequences("paged", 16), 9);
});

Deno.test("planTraffic() leaves out what is too long and says how many", () => {
  const requests = [[2000, 48], [2000, 49], [10, 20], [30, 40]]
    .map(([promptLen, outputLen]) => ({ promptLen: promptLen!, outputLen: outputLen! }));
  const plan = planTraffic(QWEN, { name: "mixed", requests }, OPTIONS);
  assertEquals([plan.numRequests, plan.numTooLong], [3, 1]);
  assertEquals([plan.meanPromptLen, plan.meanOutputLen], [680, 36]);
  const none = planTraffic(QWEN, { name: "long", requests: requests.slice(1, 2) }, OPTIONS);
  assertEquals([none.numRequests, none.meanPromptLen, none.allocators], [0, 0, []]);
});

Deno.test("planTraffic() compares the block size asked for besides the usual ones, once", () => {
  const traffic = { name: "one", requests: [{ promptLen: 10, outputLen: 10 }] };
  const sizes = (blockSize: number) =>
    planTraffic(QWEN, traffic, { ...OPTIONS, blockSize })
      .allocators.flatMap((row) => row.blockSize ?? []);
  assertEquals(sizes(48), [8, 16, 32, 48, 64, 128, 256]);
  assertEquals(sizes(64), [8, 16, 32, 64, 128, 256]);
});

Deno.test("planTraffic() holds less for layers with a window", () => {
  const heads = { numKvHeads: 1, headDim: 64 };
  const shape: ModelShape = {
    name: "hybrid",
    maxModelLen: 4096,
    caches: [
      ...Array.from(
        { length: 3 },
        () => ({ kind: "sliding_window", window: 32, ...heads }) as const,
      ),
      { kind: "full", ...heads },
    ],
  };
  const traffic = { name: "one", requests: [{ promptLen: 1600, outputLen: 16 }] };
  const paged = planTraffic(shape, traffic, OPTIONS).allocators
    .find((row) => row.blockSize === 16)!;
  assertEquals(paged.meanHeldLen, 0.75 * 48 + 0.25 * 1616);
  assert(paged.usefulShare < 0.98);
});

Deno.test("typicalTraffic() draws as many requests from each distribution, the same each time", () => {
  const traffic = typicalTraffic();
  assertEquals(traffic.map(({ requests }) => requests.length), [20_000, 20_000]);
  assertEquals(typicalTraffic(), traffic);
});
