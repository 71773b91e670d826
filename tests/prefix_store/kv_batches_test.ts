import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { BATCH_LIMITS, toBatches } from "../../src/prefix_store/kv_batches.ts";
import { runs } from "../support/runs.ts";

Deno.test("toBatches() keeps all items in order, within both limits, and fills its batches", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 70_000 }), { maxLength: 900 });
  fc.assert(
    fc.property(sizes, fc.boolean(), (items, isSmall) => {
      const bytesOf = (item: number) => isSmall ? 1 : item;
      const total = (batch: readonly number[]) =>
        batch.reduce((sum, item) => sum + bytesOf(item), 0);
      const batches = [...toBatches(items, bytesOf)];
      assertEquals(batches.flat(), items);
      for (const [i, batch] of batches.entries()) {
        assert(batch.length >= 1 && batch.length <= BATCH_LIMITS.numMutations);
        assert(total(batch) <= BATCH_LIMITS.bytes);
        const next = batches[i + 1]?.[0];
        assert(
          next === undefined || batch.length === BATCH_LIMITS.numMutations ||
            total(batch) + bytesOf(next) > BATCH_LIMITS.bytes,
          "the next item would have fitted",
        );
      }
    }),
    { seed: 10, numRuns: runs(200) },
  );
});

Deno.test("toBatches() stays within what Deno KV takes at once", async () => {
  const kv = await Deno.openKv(":memory:");
  const write = (numMutations: number, bytes: number) => {
    const atomic = kv.atomic();
    for (let i = 0; i < numMutations; i++) {
      atomic.set(["k", i], new Uint8Array(bytes / numMutations));
    }
    return atomic.commit();
  };
  assert((await write(BATCH_LIMITS.numMutations, BATCH_LIMITS.bytes)).ok);
  kv.close();
});
