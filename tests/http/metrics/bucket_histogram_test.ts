import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { Histogram, Registry } from "prom-client";
import { BucketHistogram } from "../../../src/http/metrics/bucket_histogram.ts";
import { runs } from "../../support/runs.ts";

Deno.test("BucketHistogram exposes what prom-client's histogram does of the same values", async () => {
  const buckets = [0.01, 0.25, 1, 10, 2560];
  const about = { name: "vllm:a_seconds", help: "A time", buckets };
  const edges = fc.constantFrom(0, ...buckets, 1e9);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(edges, fc.double({ min: 0, max: 20, noNaN: true }))),
      async (values) => {
        const registries = [new Registry(), new Registry()] as const;
        for (const registry of registries) registry.setDefaultLabels({ engine: "0" });
        const theirs = new Histogram({ ...about, registers: [registries[0]] });
        const ours = new BucketHistogram(about, registries[1]);
        for (const value of values) {
          theirs.observe(value);
          ours.observe(value);
        }
        assertEquals(await registries[1].metrics(), await registries[0].metrics());
      },
    ),
    { numRuns: runs(100) },
  );
});
