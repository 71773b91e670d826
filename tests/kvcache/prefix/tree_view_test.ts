import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { BlockManager } from "../../../src/kvcache/block_manager.ts";
import { runs } from "../../support/runs.ts";
import { KEY_SPACE } from "../../support/scheduler_rig.ts";

const BLOCK_SIZE = 2;

/** A manager without bounds that matter, and what has been asked of it. */
class Asked {
  nowMs = 1000;
  readonly manager = new BlockManager({
    numBlocks: 2000,
    blockSize: BLOCK_SIZE,
    prefixCache: { keySpace: KEY_SPACE, now: () => this.nowMs },
  });
  #nextId = 0;

  /** Runs a prompt to its end, or leaves it running; returns its sequence. */
  ask(tokens: readonly number[], { scope = "", stays = false } = {}): number {
    const id = this.#nextId++;
    const all = Uint32Array.from(tokens);
    assert(this.manager.tryAdmit(id, all, { scope }) !== undefined);
    this.manager.markComputed(id, all, all.length);
    if (!stays) this.manager.free(id);
    return id;
  }

  view(maxNumRuns = 1000) {
    return this.manager.viewTree(maxNumRuns)!;
  }
}

/** Numbers of one length from a letter on, so that prompts can be told apart by eye. */
function run(letter: number, length: number): number[] {
  return Array.from({ length }, (_, i) => 100 * letter + i);
}

Deno.test("viewTree() makes runs of chains, and counts hits, holders and ages", () => {
  const asked = new Asked();
  asked.ask([...run(1, 8), ...run(2, 4)]);
  asked.nowMs = 11_000;
  asked.ask([...run(1, 8), ...run(3, 6)], { stays: true });
  asked.nowMs = 15_000;
  const { runs: shown, numRuns, numBlocks, scopes } = asked.view();
  assertEquals([numRuns, numBlocks, scopes], [3, 9, [""]]);
  const [shared, ...tails] = shown;
  const facts = ({ numBlocks, numBelow, numHits, idleSeconds, numHolders }: typeof shown[0]) => [
    ...[numBlocks, numBelow, numHits, idleSeconds, numHolders],
  ];
  assertEquals(facts(shared!), [4, 5, 1, 4, 1]);
  assertEquals(tails.map(({ parent }) => parent), [0, 0]);
  assertEquals(tails.map(facts).sort(), [[2, 0, 0, -1, 0], [3, 0, 0, -1, 1]]);
});

Deno.test("viewTree() cuts a chain where its holders change, and marks pins", () => {
  const asked = new Asked();
  asked.ask(run(1, 12));
  asked.manager.pins!.pin("p", "", Uint32Array.from(run(1, 4)));
  const { runs: shown } = asked.view();
  assertEquals(
    shown.map(({ numBlocks, numHolders, isPinned }) => [numBlocks, numHolders, isPinned]),
    [[2, 1, true], [4, 0, false]],
  );
});

Deno.test("A node that is evicted leaves its hits to the node above it", () => {
  const asked = new Asked();
  asked.ask([...run(1, 4), ...run(2, 8)]);
  asked.ask([...run(1, 4), ...run(2, 8), 7]);
  assertEquals(asked.view().runs.map(({ numHits }) => numHits), [1]);
  const shared = asked.ask(run(1, 5), { stays: true });
  const { numInUse } = asked.manager;
  asked.manager.resize(numInUse);
  const [left, ...none] = asked.view().runs;
  assertEquals([left!.numBlocks, left!.numHits, none], [2, 2, []]);
  asked.manager.free(shared);
  asked.manager.checkIntegrity();
});

Deno.test("viewTree() of random prompts adds up, and what it leaves out is the least of it", () => {
  const prompt = fc.record({
    tokens: fc.array(fc.nat(1), { minLength: 2, maxLength: 14 }),
    scope: fc.constantFrom("", "a"),
  });
  fc.assert(
    fc.property(fc.array(prompt, { minLength: 5, maxLength: 40 }), (prompts) => {
      const asked = new Asked();
      let numHits = 0;
      for (const { tokens, scope } of prompts) {
        numHits += Number(asked.manager.numTokensCached(Uint32Array.from(tokens), scope) > 0);
        asked.ask(tokens, { scope });
      }
      const all = asked.view();
      assertEquals(all.runs.length, all.numRuns);
      assertEquals(sum(all.runs, ({ numBlocks }) => numBlocks), all.numBlocks);
      const roots = all.runs.filter(({ parent }) => parent < 0);
      assertEquals(sum(roots, (root) => root.numHits), numHits);
      all.runs.forEach(({ numBelow }, at) => {
        const children = all.runs.filter(({ parent }) => parent === at);
        assertEquals(sum(children, (child) => child.numBlocks + child.numBelow), numBelow);
      });
      const few = asked.view(3);
      assertEquals(few.runs.length, Math.min(3, all.numRuns));
      few.runs.forEach(({ parent }, at) => assert(parent < at, "a run before the one above it"));
      const weight = (run: typeof all.runs[0]) =>
        (run.numBlocks + run.numBelow) * (1 + run.numHits);
      const kept = all.runs.map(weight).sort((a, b) => b - a).slice(0, 3);
      assertEquals(few.runs.map(weight).sort((a, b) => b - a), kept);
    }),
    { seed: 72, numRuns: runs(200) },
  );
});

Deno.test("tokensAlong() tells a path to its own scope alone, and only while it is there", () => {
  const asked = new Asked();
  const tokens = run(1, 6);
  asked.ask(tokens, { scope: "key" });
  const [{ node, hash } = { node: -1, hash: 0 }] = asked.view().runs;
  const { manager } = asked;
  assertEquals([...manager.tokensAlong({ node, hash, scope: "key" })!], tokens);
  assertEquals(manager.tokensAlong({ node, hash, scope: "" }), undefined);
  assertEquals(manager.tokensAlong({ node, hash, scope: "other" }), undefined);
  assertEquals(manager.tokensAlong({ node, hash: hash + 1, scope: "key" }), undefined);
  assertEquals(manager.tokensAlong({ node: 10_000, hash, scope: "key" }), undefined);
  manager.clearCache();
  assertEquals(manager.tokensAlong({ node, hash, scope: "key" }), undefined);
});

function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}
