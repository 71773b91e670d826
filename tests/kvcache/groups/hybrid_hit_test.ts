import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type GroupSpec, liveBlocks } from "../../../src/kvcache/groups/group_spec.ts";
import { longestHit, NO_BLOCK } from "../../../src/kvcache/groups/hybrid_hit.ts";
import {
  chunkGroup,
  encoderGroup,
  fullGroup,
  stateGroup,
  windowGroup,
} from "../../support/group_specs.ts";
import { runs, times } from "../../support/runs.ts";

/** The hit where group `g` has cached the blocks that are `T` in `cached[g]`; block `i` has id `i`. */
function hitOf(specs: readonly GroupSpec[], cached: readonly string[], maxTokens: number) {
  return longestHit(specs, maxTokens, (group, i) => cached[group]?.[i] === "T" ? i : undefined);
}

/** The hit of one group, in blocks of 2. */
function blocksHit(spec: GroupSpec, cached: string, maxTokens = 2 * cached.length): number {
  return hitOf([spec], [cached], maxTokens).numTokens / 2;
}

Deno.test("S33: longestHit() of a window of 4 in blocks of 2 needs its last two blocks", () => {
  const expected: [string, number][] = [
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
  for (const [cached, numBlocks] of expected) {
    assertEquals(blocksHit(windowGroup(2, 4), cached), numBlocks, cached);
  }
  const { blocks } = hitOf([windowGroup(2, 4)], ["TTFTFFTTFFF"], 22);
  assertEquals(blocks, [[...new Array(6).fill(NO_BLOCK), 6, 7]]);
});

Deno.test("S34: longestHit() of chunks of 4 in blocks of 2 needs its own chunk alone", () => {
  const spec = chunkGroup(2, 4);
  const expected: [string, number][] = [["T", 1], ["TF", 2], ["TT", 2], ["TTF", 2], ["TTT", 3]];
  for (const [cached, numBlocks] of [...expected, ["TTTF", 4] as const]) {
    assertEquals(blocksHit(spec, cached), numBlocks, cached);
  }
  const eight = "TFTTFFTF";
  assertEquals(blocksHit(spec, `${eight}T`, 19), 9);
  assertEquals(blocksHit(spec, `${eight}F`, 19), 8);
  for (const tail of ["TT", "TF", "FT", "FF"]) assertEquals(blocksHit(spec, eight + tail), 10);
  assertEquals(hitOf([spec], [`${eight}T`], 19).blocks[0]!.slice(0, 8), Array(8).fill(NO_BLOCK));
});

Deno.test("S48: longestHit() of full attention and two windows is valid in all at once", () => {
  const specs = [fullGroup(16), windowGroup(16, 32), windowGroup(16, 32)];
  const blocksOf = (...cached: string[]) => hitOf(specs, cached, 52).numTokens / 16;
  assertEquals(blocksOf("TTT", "TTT", "TTT"), 3);
  assertEquals(blocksOf("TTT", "FTT", "FTT"), 3, "(a) the windows' first");
  assertEquals(blocksOf("FTT", "TTT", "TTT"), 0, "(b) full attention's first");
  assertEquals(blocksOf("TTF", "TTF", "TTF"), 2, "(c) the last of all");
  assertEquals(blocksOf("TTF", "TTT", "TTT"), 2, "(d) full attention's last");
  assertEquals(blocksOf("TTT", "TTF", "TTT"), 2, "(e) one window's last");
  assertEquals(blocksOf("TTT", "TTT", "TTF"), 2, "(f) the other's");
  assertEquals(blocksOf("TTF", "FTT", "TTT"), 0, "(g) not the least of 2 and 3");
  assertEquals(blocksOf("TTF", "TTT", "FTT"), 0, "(h)");
  const { blocks } = hitOf(specs, ["TTT", "FTT", "FTT"], 52);
  assertEquals(blocks, [[0, 1, 2], [NO_BLOCK, 1, 2], [NO_BLOCK, 1, 2]]);
});

Deno.test("S51: longestHit() aligns to all block lengths: 32 and 16", () => {
  const specs = [fullGroup(32), windowGroup(16, 32)];
  const whole = hitOf(specs, ["TTT", "TTTTTTT"], 112);
  assertEquals([whole.numTokens, ...whole.blocks.map((ids) => ids.length)], [96, 3, 6]);
  assertEquals(hitOf(specs, ["TTT", "TTTTTTT"], 96).numTokens, 96);
  const without = hitOf(specs, ["TTT", "TTTTTFF"], 112);
  assertEquals([without.numTokens, ...without.blocks.map((ids) => ids.length)], [64, 2, 4]);
  assertEquals(without.groupTokens, [96, 80]);
});

Deno.test("S54: longestHit() names the junction where a state is missing", () => {
  const specs = [fullGroup(16), stateGroup(16)];
  const replay = hitOf(specs, ["TTT", "FFT"], 54);
  assertEquals([replay.numTokens, replay.junctionTokens], [48, 0]);
  const other = hitOf(specs, ["TTF", "FFF"], 47);
  assertEquals([other.numTokens, other.junctionTokens], [0, 32]);
});

Deno.test("S55: longestHit() lists only the last state", () => {
  const { blocks } = hitOf([fullGroup(16), stateGroup(16)], ["TTT", "TTT"], 54);
  assertEquals(blocks, [[0, 1, 2], [NO_BLOCK, NO_BLOCK, 2]]);
});

Deno.test("S58: longestHit() reports each group's own hit beside that of all", () => {
  const specs = [fullGroup(16), stateGroup(16)];
  const lagging = hitOf(specs, ["TTFF", "TFFT"], 79);
  assertEquals([lagging.groupTokens, lagging.numTokens], [[32, 64], 16]);
  const deeper = hitOf(specs, ["TTTT", "TFFF"], 79);
  assertEquals([deeper.groupTokens, deeper.numTokens, deeper.junctionTokens], [[64, 16], 16, 48]);
});

Deno.test("S109: longestHit() needs a window without gaps, and finds it on the other branch", () => {
  const specs = [fullGroup(1), windowGroup(1, 4)];
  assertEquals(hitOf(specs, ["TTTTT", "FFFFT"], 5).numTokens, 0);
  assertEquals(hitOf(specs, ["TTTTTTT", "FFFFTTT"], 7).numTokens, 7);
});

Deno.test("longestHit() asks nothing of encoder groups, and finds nothing in them alone", () => {
  const encoder = encoderGroup(16, "sequence");
  const { numTokens, groupTokens, blocks } = hitOf([fullGroup(16), encoder], ["TT"], 40);
  assertEquals([numTokens, groupTokens, blocks], [32, [32, undefined], [[0, 1], []]]);
  assertEquals(hitOf([encoder], [], 40).numTokens, 0);
});

Deno.test("longestHit() looks at each block of a window a few times at most, however little is there", () => {
  let numLooks = 0;
  longestHit([windowGroup(16, 512)], 16 * 2048, (_, i) => {
    numLooks++;
    return i % 31 === 0 ? undefined : i;
  });
  assert(numLooks <= 2 * 2048, `${numLooks} looks at 2048 blocks`);
});

Deno.test("longestHit() is the longest length that brute force finds valid in all groups (I12)", () => {
  const size = fc.integer({ min: 1, max: 3 });
  const spec = fc.tuple(fc.nat(3), size, fc.integer({ min: 1, max: 7 }), fc.nat(4)).map(
    ([kind, block, span, numSinkTokens]): GroupSpec =>
      [
        fullGroup(block),
        windowGroup(block, span, { numSinkTokens }),
        chunkGroup(block, span),
        stateGroup(block),
      ][kind]!,
  );
  const cached = fc.array(fc.boolean(), { minLength: 24, maxLength: 24 });
  let numHits = 0;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(spec, cached, fc.nat(3)), { minLength: 1, maxLength: 3 }),
      fc.nat(24),
      (groups, maxTokens) => {
        const specs = groups.map(([spec]) => spec);
        // Dense enough for hits: a block is missing where two coins fall wrong.
        const has = (g: number, i: number) => groups[g]![1][i]! || i % 4 !== groups[g]![2];
        const isValid = (g: number, length: number) => {
          const { numSinkBlocks, start, end } = liveBlocks(specs[g]!, length);
          const needed = Array.from({ length: end }, (_, i) => i)
            .filter((i) => i < numSinkBlocks || i >= start);
          return length % specs[g]!.tokensPerBlock === 0 && needed.every((i) => has(g, i));
        };
        const lengths = Array.from({ length: maxTokens + 1 }, (_, length) => maxTokens - length);
        const alone = specs.map((_, g) => lengths.find((length) => isValid(g, length))!);
        const all = lengths.find((length) => specs.every((_, g) => isValid(g, length)))!;
        const hit = longestHit(specs, maxTokens, (g, i) => has(g, i) ? i : undefined);
        assertEquals(hit.groupTokens, alone);
        assertEquals([hit.numTokens, hit.junctionTokens], [all, Math.max(...alone) - all]);
        hit.blocks.forEach((ids, g) => {
          const { numSinkBlocks, start } = liveBlocks(specs[g]!, all);
          assertEquals(ids, ids.map((_, i) => i < numSinkBlocks || i >= start ? i : NO_BLOCK));
          assertEquals(ids.length * specs[g]!.tokensPerBlock, all);
        });
        if (all > 0) numHits++;
      },
    ),
    { seed: 46, numRuns: runs(20_000) },
  );
  assert(numHits > times(5000), `only ${numHits} hits`);
});
