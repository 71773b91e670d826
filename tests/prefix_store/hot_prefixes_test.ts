import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { KvEvent } from "../../src/core/kv_event.ts";
import { HotPrefixes, type HotPrefixesOptions } from "../../src/prefix_store/hot_prefixes.ts";
import type { PrefixRecord } from "../../src/prefix_store/prefix_record.ts";
import { BLOCK, keyOf, recordOf, stored, tokensOf, used } from "./prefix_events.ts";
import { runs } from "../support/runs.ts";

const HALF_LIFE_MS = 1000;

function hotPrefixes(
  options: Partial<HotPrefixesOptions> = {},
  events: readonly KvEvent[] = [],
): HotPrefixes {
  const hot = new HotPrefixes({
    maxRecords: 100,
    halfLifeMs: HALF_LIFE_MS,
    forgetAfterMs: 8 * HALF_LIFE_MS,
    ...options,
  });
  for (const event of events) hot.fold(event, 0);
  return hot;
}

function sorted(records: Iterable<PrefixRecord>): PrefixRecord[] {
  return [...records].map(({ key, parentKey, scope, tokens, hits, lastUsed }) => (
    { key, parentKey, scope, tokens, hits, lastUsed }
  )).sort((a, b) => a.key < b.key ? -1 : 1);
}

function keysOf(hot: HotPrefixes): string[] {
  return [...hot.records()].map(({ key }) => key).sort();
}

/** The chosen prefixes as letters. */
function pathsOf(hot: HotPrefixes, maxTokens = Infinity, maxPathTokens = Infinity, now = 0) {
  return hot.hottest({ maxTokens, maxPathTokens }, now).map((path) =>
    String.fromCharCode(...path.toTokens().filter((_, i) => i % BLOCK === 0))
  );
}

Deno.test("HotPrefixes.fold() records stored blocks and the prompts that ended at each", () => {
  const hot = hotPrefixes({}, [stored("abc"), used("ab"), used("ab"), used("abc")]);
  assertEquals(sorted(hot.records()), [
    recordOf("a"),
    recordOf("ab", { hits: 2 }),
    recordOf("abc", { hits: 1 }),
  ]);
});

Deno.test("HotPrefixes.fold() keeps what leaves the cache", () => {
  const removed: KvEvent = { type: "removed", keys: [keyOf("ab")], group: 0 };
  const hot = hotPrefixes({}, [stored("ab"), used("ab"), removed, { type: "cleared" }]);
  assertEquals(keysOf(hot), [keyOf("a"), keyOf("ab")]);
  hot.fold(stored("ab"), 500);
  assertEquals([...hot.records()].map(({ lastUsed }) => lastUsed), [0, 500]);
});

Deno.test("HotPrefixes.fold() counts nothing that the server itself did", () => {
  const hot = hotPrefixes({}, [stored("ab"), used("ab")]);
  hot.takeChanges();
  hot.fold(used("ab"), 900, true);
  hot.fold(stored("ab"), 900, true);
  assertEquals(sorted(hot.records()), [recordOf("a"), recordOf("ab", { hits: 1 })]);
  assertEquals(hot.takeChanges(), { put: [], remove: [] });
});

Deno.test("HotPrefixes.fold() leaves out other cache groups and scopes not to be remembered", () => {
  const hot = hotPrefixes({ mayRecord: (scope) => scope !== "private" }, [
    stored("ab", { group: 1 }),
    stored("cd", { scope: "private" }),
    used("cd", "private"),
    stored("e", { scope: "open" }),
  ]);
  assertEquals(keysOf(hot), [keyOf("e", "open")]);
  assertEquals(hot.takeChanges().put.map(({ key }) => key), [keyOf("e", "open")]);
});

Deno.test("HotPrefixes.fold() leaves out blocks whose beginning it has forgotten", () => {
  const hot = hotPrefixes({}, [stored("ab"), stored("xyz", { from: 1 })]);
  assertEquals(keysOf(hot), [keyOf("a"), keyOf("ab")]);
  // After the cache was cleared, the first parent is a root again, whatever its key is by then.
  hot.fold({ type: "cleared" }, 0);
  hot.fold({ ...stored("q"), parentKey: "another root" } as KvEvent, 0);
  hot.fold(stored("r"), 0);
  assertEquals(keysOf(hot), [keyOf("a"), keyOf("ab"), keyOf("q")]);
});

Deno.test("HotPrefixes halves hits per half-life", () => {
  const hot = hotPrefixes({}, [stored("a"), used("a"), used("a"), used("a"), used("a")]);
  hot.fold(used("a"), 2 * HALF_LIFE_MS);
  assertEquals([...hot.records()][0]!.hits, 4 / 4 + 1);
  // A clock that goes back takes nothing away and makes nothing older.
  hot.fold(used("a"), HALF_LIFE_MS);
  assertEquals([...hot.records()][0]!.hits, 3);
  assertEquals([...hot.records()][0]!.lastUsed, 2 * HALF_LIFE_MS);
});

Deno.test("HotPrefixes.forget() drops what nobody used for too long, but not what leads to more", () => {
  const hot = hotPrefixes({}, [stored("abc"), stored("x")]);
  hot.fold(used("ab"), 5000);
  hot.forget(8000);
  assertEquals(hot.size, 4);
  hot.forget(8001);
  assertEquals(keysOf(hot), [keyOf("a"), keyOf("ab")]);
  assertEquals(hot.takeChanges().remove.toSorted(), [keyOf("abc"), keyOf("x")]);
});

Deno.test("HotPrefixes drops the coldest leaves first and keeps their uses", () => {
  const hot = hotPrefixes({ maxRecords: 8 }, [
    stored("abcd"),
    used("abcd"),
    stored("xy"),
    used("xy"),
    used("xy"),
    stored("abp", { from: 2 }),
    stored("abq", { from: 2 }),
    used("abp"),
    used("abp"),
  ]);
  assertEquals(hot.size, 8);
  hot.fold(stored("z"), 1);
  // 7 of 9 stay: "abq" and "z" were never found again.
  assertEquals(
    keysOf(hot),
    ["a", "ab", "abc", "abcd", "abp", "x", "xy"].map((path) => keyOf(path)),
  );
});

Deno.test("HotPrefixes passes the uses of a dropped leaf on to its parent, with their time", () => {
  const hot = hotPrefixes({ maxRecords: 4 }, [stored("abc")]);
  for (const event of [used("abc"), stored("x"), used("x"), used("x"), stored("xy")]) {
    hot.fold(event, HALF_LIFE_MS);
  }
  // Three of five stay: "xy" was never found again, "abc" is the deepest of those found once.
  assertEquals(keysOf(hot), ["a", "ab", "x"].map((path) => keyOf(path)));
  const ab = [...hot.records()].find(({ key }) => key === keyOf("ab"))!;
  assertEquals([ab.hits, ab.lastUsed], [1, HALF_LIFE_MS]);
});

Deno.test("HotPrefixes drops children before their parents when it drops several", () => {
  const hot = hotPrefixes({ maxRecords: 9 }, [stored("bbbbb"), stored("aaaa"), used("aaaa")]);
  for (let i = 0; i < 3; i++) hot.fold(used("bbbbb"), 0);
  hot.fold(stored("ab", { from: 1 }), 0);
  assertEquals(hot.size, 7);
  assertEquals(numUses(hot), 4);
});

Deno.test("HotPrefixes.hottest() ranks whole prefixes by the tokens they are expected to save", () => {
  const hot = hotPrefixes({}, [
    stored("abc"),
    stored("xyz"),
    stored("abd", { from: 2 }),
    used("xyz"),
    used("ab"),
    used("ab"),
    used("abd"),
  ]);
  assertEquals(pathsOf(hot), ["abd", "abc", "xyz"]);
  const [first] = hot.hottest({ maxTokens: Infinity, maxPathTokens: Infinity }, 0);
  assertEquals([...first!.toTokens()], tokensOf("abd"));
  assertEquals([first!.numTokens, first!.savedTokens], [
    6,
    (3 + 1) * 2 + (3 + 1) * 2 + (1 + 1) * 2,
  ]);
});

Deno.test("HotPrefixes.hottest() spends a budget on the blocks of most uses, parents first", () => {
  const hot = hotPrefixes({}, [stored("abc"), stored("xy"), used("ab"), used("ab"), used("x")]);
  assertEquals(pathsOf(hot, 3 * BLOCK), ["ab", "x"]);
  assertEquals(pathsOf(hot, 3 * BLOCK - 1), ["ab"]);
  assertEquals(pathsOf(hot, BLOCK - 1), []);
  assertEquals(pathsOf(hot, Infinity, 1 * BLOCK), ["a", "x"]);
});

Deno.test("HotPrefixes.hottest() ages uses, so that what was hot long ago comes last", () => {
  const hot = hotPrefixes({}, [stored("a"), stored("x"), used("a"), used("a"), used("a")]);
  hot.fold(used("x"), 3 * HALF_LIFE_MS);
  assertEquals(pathsOf(hot, Infinity, Infinity, 3 * HALF_LIFE_MS), ["x", "a"]);
});

Deno.test("HotPrefixes.takeChanges() orders parents first and removals last to first", () => {
  const hot = hotPrefixes({}, [stored("ab"), stored("abcd", { from: 2 })]);
  const changes = hot.takeChanges();
  assertEquals(changes.put.map(({ key }) => key), ["a", "ab", "abc", "abcd"].map((p) => keyOf(p)));
  assertEquals(hot.takeChanges().put, []);
  hot.returnChanges(changes);
  assertEquals(hot.takeChanges(), changes);
  hot.forget(1e9);
  assertEquals(
    hot.takeChanges().remove,
    ["abcd", "abc", "ab", "a"].map((path) => keyOf(path)),
  );
});

Deno.test("HotPrefixes.load() drops circles and scopes that may no longer be remembered", () => {
  const hot = hotPrefixes({ mayRecord: (scope) => scope === "" });
  const sound = hotPrefixes();
  sound.load([recordOf("ab"), recordOf("a")], 0);
  assertEquals(sound.takeChanges(), { put: [], remove: [] });
  const circle = { ...recordOf("pq"), parentKey: keyOf("pq") };
  hot.load([recordOf("ab"), recordOf("a"), recordOf("x", { scope: "private" }), circle], 0);
  assertEquals(keysOf(hot), [keyOf("a"), keyOf("ab")]);
  assertEquals(hot.takeChanges().remove.toSorted(), [keyOf("pq"), keyOf("x", "private")]);
});

/** The same said slowly: every use with its time, by key. */
class Model {
  readonly paths = new Set<string>();
  readonly uses: { path: string; atMs: number }[] = [];
  readonly stores: { path: string; atMs: number }[] = [];

  /** Aged uses of the block at the end of `path`, and one for whoever computed it. */
  heat(path: string, now: number): number {
    const decay = (atMs: number) => 2 ** (-(now - atMs) / HALF_LIFE_MS);
    const uses = this.uses.filter((use) => use.path.startsWith(path)).map(({ atMs }) => atMs);
    const stores = this.stores.filter((store) => store.path.startsWith(path));
    const latest = Math.max(...uses, ...stores.map(({ atMs }) => atMs));
    return uses.reduce((sum, atMs) => sum + decay(atMs), decay(latest));
  }
}

const letters = fc.array(fc.constantFrom("a", "b"), { minLength: 1, maxLength: 5 })
  .map((path) => path.join(""));
const step = fc.record({
  verb: fc.constantFrom("store", "use", "remove", "restart"),
  path: letters,
  waitMs: fc.nat(500),
});

Deno.test("HotPrefixes agrees with a list of all uses, restarts included", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.nat(12), (history, numBudgetBlocks) => {
      let hot = hotPrefixes();
      const store = new Map<string, PrefixRecord>();
      const model = new Model();
      let now = 0;
      for (const { verb, path, waitMs } of history) {
        now += waitMs;
        if (verb === "store") {
          for (let n = 1; n <= path.length; n++) model.paths.add(path.slice(0, n));
          model.stores.push({ path, atMs: now });
          hot.fold(stored(path), now);
        } else if (verb === "use") {
          if (model.paths.has(path)) model.uses.push({ path, atMs: now });
          hot.fold(used(path), now);
        } else if (verb === "remove") {
          hot.fold({ type: "removed", keys: [keyOf(path)], group: 0 }, now);
        } else {
          write(store, hot);
          hot = hotPrefixes();
          hot.load(store.values(), now);
        }
      }
      assertEquals(keysOf(hot), [...model.paths].map((path) => keyOf(path)).sort());
      checkChoice(hot, model, numBudgetBlocks, now);
    }),
    { seed: 8, numRuns: runs(500) },
  );
});

function write(store: Map<string, PrefixRecord>, hot: HotPrefixes): void {
  const { put, remove } = hot.takeChanges();
  for (const record of put) {
    assert(
      record.parentKey === keyOf("") || store.has(record.parentKey),
      "a block is written before its parent",
    );
    store.set(record.key, record);
  }
  for (const key of remove) {
    assert([...store.values()].every(({ parentKey }) => parentKey !== key), "a parent goes first");
    store.delete(key);
  }
}

function checkChoice(hot: HotPrefixes, model: Model, numBlocks: number, now: number): void {
  const chosen = hot.hottest({ maxTokens: numBlocks * BLOCK, maxPathTokens: Infinity }, now);
  const paths = pathsOf(hot, numBlocks * BLOCK, Infinity, now);
  const blocks = new Set(
    paths.flatMap((path) => [...path].map((_, i) => path.slice(0, i + 1))),
  );
  assertEquals(blocks.size, Math.min(numBlocks, model.paths.size));
  const numOwn = chosen.reduce((sum, { numOwnTokens }) => sum + numOwnTokens, 0);
  assertEquals(numOwn, BLOCK * blocks.size, "what paths share counts once");
  for (const path of paths) {
    assert(paths.every((other) => other === path || !other.startsWith(path)), "a prefix twice");
  }
  // No other set of as many blocks is hotter: the best are the best one by one.
  const best = [...model.paths].map((path) => model.heat(path, now)).sort((a, b) => b - a);
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  assertAlmostEquals(
    sum([...blocks].map((path) => model.heat(path, now))),
    sum(best.slice(0, numBlocks)),
    1e-9,
  );
  chosen.forEach(({ savedTokens }, i) => {
    const prefixes = [...paths[i]!].map((_, n) => paths[i]!.slice(0, n + 1));
    const expected = BLOCK * sum(prefixes.map((path) => model.heat(path, now)));
    assertAlmostEquals(savedTokens, expected, 1e-9);
    assert(i === 0 || chosen[i - 1]!.savedTokens >= savedTokens, "a hotter one comes later");
  });
}

Deno.test("HotPrefixes holds its bound, whole prefixes and every use, whatever comes", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), fc.integer({ min: 1, max: 9 }), (
      history,
      maxRecords,
    ) => {
      const hot = hotPrefixes({ maxRecords });
      const store = new Map<string, PrefixRecord>();
      for (const { verb, path } of history) {
        const usesBefore = numUses(hot);
        const isHeld = keysOf(hot).includes(keyOf(path));
        const before = keysOf(hot);
        hot.fold(verb === "use" ? used(path) : stored(path), 0);
        assert(hot.size <= maxRecords, `${hot.size} records`);
        const held = new Set(keysOf(hot));
        for (const { parentKey } of hot.records()) {
          assert(parentKey === keyOf("") || held.has(parentKey), "a record without its parent");
        }
        const hasLostRoot = before.some((key) => key.length === 2 && !held.has(key));
        if (!hasLostRoot) {
          assertEquals(numUses(hot), usesBefore + (verb === "use" && isHeld ? 1 : 0));
        }
        if (verb === "restart") write(store, hot);
      }
      write(store, hot);
      assertEquals(sorted(store.values()), sorted(hot.records()));
    }),
    { seed: 9, numRuns: runs(500) },
  );
});

function numUses(hot: HotPrefixes): number {
  return [...hot.records()].reduce((sum, { hits }) => sum + hits, 0);
}
