import { assert, assertEquals } from "@std/assert";
import { ManagerHistory } from "../support/manager_history.ts";

/**
 * What a manager with one group of full attention has done in 4,000 seeded operations, as digests
 * after each 500: recorded when it knew of no other groups, so that every id, hit, eviction, event
 * and decision is still the same.
 */
const DIGESTS = {
  lru: [
    "08a97357f3796a36411a97d6d8a1dedf",
    "40466e898e953d819f4beba3474419b8",
    "d4d0d9a9fcdcb4930813a6ec097cd050",
    "1979a65f27decf6ea49d35f5489d53e6",
    "5fdf07cd92e60d6880475b860fde43c0",
    "f4e925f0bb1427d49e9a743359f360bd",
    "b7347a1e4dd2286592c17ea3880f42ec",
    "e7a29746e4f35ea99ee5bbd227b14533",
  ],
  slru: [
    "dcdc55c01e2ece97a6a2ef12337d72e4",
    "ab18878d5eb75a182f3da5aad87b8dd7",
    "b8c85f543e52fbbf98cedf37ffc0f3bf",
    "df8b8cf971ee172a7e2c9cb016bb2507",
    "9d925d1b401db246b9348511e44abf66",
    "41552204b171e48b24ef9c23b597694b",
    "c969ee6e31e20d80cd5a242c0573db27",
    "6e053f49fe40a667ca36358f565a0abc",
  ],
  priority: [
    "8692c3020abddb2e43af0f1b3264c87e",
    "85b67590171ea39ed8a200bfe134d356",
    "97c0a98114b4358dc1b0e3471f9a630a",
    "2ca782bcd0d07a86b443bb1eb9aa7287",
    "010e873edac3250405150980b53e5010",
    "5e7042fd384968e4d592eae793351470",
    "c5656e80802648aa5ba21e7fb8155dff",
    "67b8073385c55c6383141279e21db601",
  ],
};

for (const [i, policy] of (["lru", "slru", "priority"] as const).entries()) {
  Deno.test(`BlockManager with one full group (${policy}) makes the decisions, tables and events on record`, () => {
    const history = new ManagerHistory(policy, 77 + i);
    const digests = DIGESTS[policy].map(() => history.play(500));
    assertEquals(digests, DIGESTS[policy]);
    const { numEvicted, numHitTokens, numMoves } = history;
    assert(
      numEvicted > 400 && numHitTokens > 1500 && numMoves > 100,
      `${numEvicted} evictions, ${numHitTokens} hit tokens, ${numMoves} moves`,
    );
  });
}

Deno.test("BlockManager does the same from the same history by a policy that no model predicts (I15)", () => {
  const [first, second, other] = [77, 77, 78].map((seed) => new ManagerHistory("reuse", seed));
  for (let i = 0; i < 8; i++) assertEquals(second!.play(500), first!.play(500));
  assert(first!.numEvicted > 400, `${first!.numEvicted} evictions`);
  assert(other!.play(4_000) !== first!.play(0), "histories of two seeds are alike");
});
