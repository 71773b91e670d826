import { assertEquals } from "@std/assert";
import { type CacheSpec, NO_BLOCK } from "../../../src/core/cache_group.ts";
import { longestHit } from "../../../src/kvcache/prefix/longest_hit.ts";
import { NodeBlocks } from "../../../src/kvcache/prefix/node_blocks.ts";
import { chunksOf, FULL, STATE, windowOf } from "../../support/kv_groups.ts";

/** What is cached of each group, block by block: T or F. */
function hitOf(groups: readonly CacheSpec[], patterns: readonly string[], blockSize: number) {
  const numNodes = patterns[0]!.length;
  const columns = new NodeBlocks(numNodes * groups.length, groups.length);
  const path = Array.from({ length: numNodes }, () => columns.open());
  patterns.forEach((pattern, group) =>
    [...pattern].forEach((cached, i) => {
      if (cached === "T") columns.set(path[i]!, group, group * numNodes + i);
    })
  );
  columns.checkIntegrity();
  return longestHit(groups, path, columns, blockSize);
}

function lengthOf(groups: readonly CacheSpec[], patterns: readonly string[], blockSize = 2) {
  return hitOf(groups, patterns, blockSize).nodes.length;
}

Deno.test("S33: a window's longest hit has its last positions, whatever is missing before them", () => {
  const cases: [string, number][] = [
    ["FFFFFFFFFF", 0],
    ["T", 1],
    ["TF", 1],
    ["TT", 2],
    ["TTF", 2],
    ["TTT", 3],
    ["TTTF", 3],
    ["TTFTFFTTFTTT", 12],
    ["TTFTFFTTFFF", 8],
    ["TTFTFFTTFFFT", 8],
  ];
  for (const [pattern, length] of cases) {
    assertEquals(lengthOf([windowOf(4)], [pattern]), length, pattern);
  }
  const { blocks } = hitOf([windowOf(4)], ["TTFTFFTTFTTT"], 2);
  assertEquals(blocks[0], [...new Array(10).fill(NO_BLOCK), 10, 11]);
});

Deno.test("S34: a chunk's longest hit needs no chunk before it, and none of its own at its start", () => {
  const cases: [string, number][] = [["T", 1], ["TF", 2], ["TT", 2], ["TTF", 2], ["TTT", 3]];
  for (const [pattern, length] of cases) {
    assertEquals(lengthOf([chunksOf(4)], [pattern]), length, pattern);
  }
  assertEquals(["FFFFFFFFTF", "FFFFFFFFFF"].map((p) => lengthOf([chunksOf(4)], [p])), [10, 10]);
  assertEquals(["FFFFFFFFT", "FFFFFFFFF"].map((p) => lengthOf([chunksOf(4)], [p])), [9, 8]);
});

Deno.test("A state's hit ends at a snapshot, and a window with sinks needs them too", () => {
  assertEquals(lengthOf([STATE], ["FTFTF"]), 4);
  assertEquals(lengthOf([STATE], ["FFFFF"]), 0);
  const withSinks = [windowOf(4, 2)];
  assertEquals(["TFFFTT", "FFFFTT", "TFFFFT"].map((p) => lengthOf(withSinks, [p])), [6, 0, 1]);
});

Deno.test("S48: the hit of full attention and two windows is the longest that all of them accept", () => {
  const groups = [FULL, windowOf(32), windowOf(32)];
  const hit = (...patterns: string[]) => lengthOf(groups, patterns, 16);
  assertEquals(hit("TTT", "FTT", "FTT"), 3);
  assertEquals(hit("TTT", "TTF", "TTF"), 2);
  assertEquals(hit("TTT", "TTF", "TTT"), 2);
  assertEquals(hit("TTT", "TTT", "TTF"), 2);
  // Full attention ends where its nodes do; the least of the groups' own hits need not be valid.
  assertEquals(hit("TT", "FT", "TT"), 0);
});
