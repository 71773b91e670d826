import { assertEquals } from "@std/assert";
import * as fc from "fast-check";
import { type CacheSpec, liveRange } from "../../src/core/cache_group.ts";
import {
  firstRead,
  numSplitsOf,
  READS_ALL,
  readSpan,
  splitBegin,
  splitRange,
} from "../../src/core/read_span.ts";
import { runs } from "../support/runs.ts";

const HEADS = { numKvHeads: 1, headDim: 8 };
const CACHES: fc.Arbitrary<CacheSpec> = fc.oneof(
  fc.constant<CacheSpec>({ kind: "full", ...HEADS }),
  fc.record({ window: fc.integer({ min: 1, max: 90 }), numSinkTokens: fc.nat(40) }).map(
    (fields): CacheSpec => ({ kind: "sliding_window", ...fields, ...HEADS }),
  ),
  fc.integer({ min: 1, max: 90 }).map(
    (window): CacheSpec => ({ kind: "chunked_local", window, ...HEADS }),
  ),
);

Deno.test("readSpan() of layers that read everything, or no positions, is everything", () => {
  const full = { kind: "full", ...HEADS } as const;
  assertEquals([readSpan(full), readSpan({ kind: "state", stateBytes: 4 })], [
    READS_ALL,
    READS_ALL,
  ]);
});

Deno.test("splitRange() names exactly the splits with a position that the last query reads", () => {
  fc.assert(
    fc.property(
      ...[CACHES, fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 40 })] as const,
      (cache, contextLen, splitLen) => {
        const span = readSpan(cache);
        const first = firstRead(span, contextLen - 1);
        const expected = new Set<number>();
        for (let at = 0; at < contextLen; at++) {
          if (at >= first || at < span.numSinkTokens) {
            expected.add(Math.floor(at / splitLen) * splitLen);
          }
        }
        const range = splitRange(span, contextLen, splitLen);
        const begins = Array.from(
          { length: numSplitsOf(range) },
          (_, i) => splitBegin(range, i, splitLen),
        );
        assertEquals(begins, [...expected]);
      },
    ),
    { numRuns: runs(500) },
  );
});

Deno.test("firstRead() lies in a live block of a table, and so do all positions after it", () => {
  fc.assert(
    fc.property(
      ...[CACHES, fc.nat(200), fc.integer({ min: 1, max: 20 })] as const,
      (cache, position, blockSize) => {
        const { start } = liveRange(cache, position, blockSize);
        const block = Math.floor(firstRead(readSpan(cache), position) / blockSize);
        assertEquals(Math.min(block, Math.ceil(position / blockSize)), start);
      },
    ),
    { numRuns: runs(500) },
  );
});
