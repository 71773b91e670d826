import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  blocksToGrow,
  checkGroupSpec,
  type GroupSpec,
  liveBlocks,
  maxLiveBlocks,
  numEncoderBlocks,
  numLiveBlocks,
  stateBytes,
} from "../../../src/kvcache/groups/group_spec.ts";
import { runs } from "../../support/runs.ts";

function full(tokensPerBlock: number): GroupSpec {
  return { kind: "full", name: "full", tokensPerBlock, blockBytes: 4 };
}

function sliding(tokensPerBlock: number, windowTokens: number, numSinkTokens = 0): GroupSpec {
  const base = { name: "window", tokensPerBlock, blockBytes: 4 };
  return { kind: "sliding-window", ...base, windowTokens, numSinkTokens };
}

function chunked(tokensPerBlock: number, chunkTokens: number): GroupSpec {
  return { kind: "chunked-local", name: "chunk", tokensPerBlock, blockBytes: 4, chunkTokens };
}

const STATE: GroupSpec = { kind: "state-space", name: "state", tokensPerBlock: 16, blockBytes: 4 };

/** Blocks before the live ones, those of the sinks left out. */
function numDead(spec: GroupSpec, numTokens: number): number {
  const { numSinkBlocks, start } = liveBlocks(spec, numTokens);
  return start - numSinkBlocks;
}

Deno.test("liveBlocks() of full attention are all, of a state space group the last", () => {
  assertEquals(liveBlocks(full(16), 55), { numSinkBlocks: 0, start: 0, end: 4 });
  assertEquals(liveBlocks(STATE, 55), { numSinkBlocks: 0, start: 3, end: 4 });
  assertEquals(liveBlocks(STATE, 0), { numSinkBlocks: 0, start: 0, end: 0 });
});

Deno.test("liveBlocks() of a window of 4 in blocks of 2: 0, 1, 1, 2, 4 are dead (1c)", () => {
  assertEquals([4, 5, 6, 7, 11].map((n) => numDead(sliding(2, 4), n)), [0, 1, 1, 2, 4]);
});

Deno.test("S36: liveBlocks() of chunks of 4 in blocks of 2: 2, 2, 6 are dead", () => {
  assertEquals([4, 6, 12].map((n) => numDead(chunked(2, 4), n)), [2, 2, 6]);
});

Deno.test("S37: liveBlocks() keeps 16 sink tokens and frees what lies between them and the window", () => {
  const spec = sliding(4, 8, 16);
  assertEquals(liveBlocks(spec, 28), { numSinkBlocks: 4, start: 5, end: 7 });
  assertEquals(liveBlocks(spec, 36), { numSinkBlocks: 4, start: 7, end: 9 });
  assertEquals(liveBlocks(spec, 12), { numSinkBlocks: 1, start: 1, end: 3 });
});

Deno.test("liveBlocks() hold just the blocks of positions that a later query reads", () => {
  const reads: Record<string, (spec: GroupSpec, query: number, key: number) => boolean> = {
    "full": () => true,
    "sliding-window": (spec, query, key) =>
      spec.kind === "sliding-window" &&
      (query - key < spec.windowTokens || key < (spec.numSinkTokens ?? 0)),
    "chunked-local": (spec, query, key) =>
      spec.kind === "chunked-local" &&
      Math.floor(query / spec.chunkTokens) === Math.floor(key / spec.chunkTokens),
  };
  const size = fc.integer({ min: 1, max: 9 });
  const spec = fc.tuple(fc.nat(2), size, size, fc.nat(9)).map(([kind, block, span, sink]) =>
    [full(block), sliding(block, span, sink), chunked(block, span)][kind]!
  );
  fc.assert(
    fc.property(spec, fc.nat(60), (spec, numTokens) => {
      const { numSinkBlocks, start, end } = liveBlocks(spec, numTokens);
      const isRead = (block: number) => {
        for (
          let key = block * spec.tokensPerBlock;
          key < (block + 1) * spec.tokensPerBlock;
          key++
        ) {
          // A block being filled lives for the positions still to be written to it.
          if (key >= numTokens) return true;
          for (let query = numTokens; query < numTokens + 30; query++) {
            if (reads[spec.kind]!(spec, query, key)) return true;
          }
        }
        return false;
      };
      for (let block = 0; block < end; block++) {
        const isLive = block < numSinkBlocks || block >= start;
        assertEquals(isLive, isRead(block), `block ${block} of ${JSON.stringify(spec)}`);
      }
      assertEquals(numLiveBlocks({ numSinkBlocks, start, end }), numSinkBlocks + end - start);
    }),
    { seed: 43, numRuns: runs(3000) },
  );
});

Deno.test("S40: maxLiveBlocks() of a window and of chunks, by what may be in flight", () => {
  assertEquals([1024, 2048].map((n) => maxLiveBlocks(sliding(16, 1024), 1e6, n)), [129, 193]);
  assertEquals([1024, 2048].map((n) => maxLiveBlocks(chunked(16, 1024), 1e6, n)), [128, 192]);
  assertEquals(maxLiveBlocks(sliding(16, 64), 1024, 128), 13);
  assertEquals(maxLiveBlocks(full(16), 1024, 128), 64);
});

Deno.test("S151: maxLiveBlocks() gives how many sequences of 16,384 tokens fit", () => {
  const numBlocks = (specs: GroupSpec[]) =>
    specs.reduce((sum, spec) => sum + maxLiveBlocks(spec, 16_384, 1024), 0);
  assertEquals(1536 / numBlocks([full(16)]), 1.5);
  assertEquals(387 / numBlocks([sliding(16, 1024)]), 3);
  assertEquals(numBlocks([full(16), sliding(16, 1024)]), 1153);
  assertEquals(3459 / numBlocks([full(16), sliding(16, 1024)]), 3);
});

Deno.test("maxLiveBlocks() is never passed, whatever is in flight", () => {
  const size = fc.integer({ min: 1, max: 9 });
  const spec = fc.tuple(fc.nat(2), size, size, fc.nat(9)).map(([kind, block, span, sink]) =>
    [full(block), sliding(block, span, sink), chunked(block, span)][kind]!
  );
  fc.assert(
    fc.property(spec, fc.nat(60), fc.integer({ min: 1, max: 20 }), (spec, settled, inFlight) => {
      const live = liveBlocks(spec, settled);
      const end = liveBlocks(spec, settled + inFlight).end;
      const numHeld = numLiveBlocks({ ...live, end });
      const most = maxLiveBlocks(spec, settled + inFlight, inFlight);
      assertEquals(numHeld <= most, true, `${numHeld} > ${most} for ${JSON.stringify(spec)}`);
    }),
    { seed: 44, numRuns: runs(5000) },
  );
});

Deno.test("blocksToGrow() counts new blocks; a state takes one, an encoder none", () => {
  assertEquals(
    [[0, 1], [0, 16], [15, 16], [16, 17], [17, 16]].map(([a, b]) => blocksToGrow(full(16), a!, b!)),
    [1, 1, 0, 1, 0],
  );
  assertEquals([blocksToGrow(STATE, 0, 100), blocksToGrow(STATE, 100, 500)], [1, 0]);
  const cross: GroupSpec = {
    kind: "encoder",
    lifetime: "sequence",
    name: "cross",
    tokensPerBlock: 16,
    blockBytes: 4,
  };
  assertEquals([blocksToGrow(cross, 0, 100), maxLiveBlocks(cross, 100, 9)], [0, 0]);
  assertEquals([0, 1, 16, 17].map((n) => numEncoderBlocks(cross, n)), [0, 1, 1, 2]);
});

Deno.test("stateBytes() of a Mamba-2 layer: state and convolution of each layer", () => {
  const geometry = {
    numLayers: 24,
    numStateElements: 48 * 64 * 128,
    numConvElements: (48 * 64 + 2 * 128) * 3,
    elementBytes: 4,
  };
  assertEquals(stateBytes(geometry), 24 * (393_216 + 9984) * 4);
});

Deno.test("checkGroupSpec() names the group, the field, the limit and the value", () => {
  checkGroupSpec(sliding(16, 1));
  const cases: [GroupSpec, string][] = [
    [full(0), "group full: tokensPerBlock must be an integer of at least 1, got 0"],
    [{ ...full(1), blockBytes: 1.5 }, "group full: blockBytes must be"],
    [sliding(4, 0), "group window: windowTokens must be an integer of at least 1, got 0"],
    [sliding(4, 4, -1), "numSinkTokens must be an integer of at least 0, got -1"],
    [chunked(4, 0), "group chunk: chunkTokens"],
  ];
  for (const [spec, message] of cases) {
    assertThrows(() => checkGroupSpec(spec), RangeError, message);
  }
});
