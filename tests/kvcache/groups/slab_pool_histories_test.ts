import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { BlockId } from "../../../src/core/ids.ts";
import { planSlabs } from "../../../src/core/slab_layout.ts";
import { type Demand, SlabPool } from "../../../src/kvcache/groups/slab_pool.ts";
import { type Named, SlabModel } from "../../support/slab_model.ts";
import { runs, times } from "../../support/runs.ts";

const NUM_OPERATIONS = 200_000;
const HISTORY_LENGTH = 100;

const SIZES = [[4, 4], [8, 4], [8, 12], [4, 12, 8], [20, 8], [4]];
const OPERATION = fc.record({
  verb: fc.constantFrom(
    "one",
    "one",
    "all",
    "retain",
    "release",
    "release",
    "mark",
    "unmark",
    "end",
  ),
  pick: fc.nat(999),
  owner: fc.nat(2),
  count: fc.nat(5),
});
type Operation = typeof OPERATION extends fc.Arbitrary<infer T> ? T : never;

const POOL = fc.record({
  sizes: fc.constantFrom(...SIZES),
  numSlabs: fc.integer({ min: 1, max: 5 }),
  tailBytes: fc.nat(3),
  history: fc.array(OPERATION, { minLength: HISTORY_LENGTH, maxLength: HISTORY_LENGTH }),
});

/** A pool, its model and the references held, moved together. */
class Rig {
  readonly pool: SlabPool;
  readonly model: SlabModel;
  readonly held: Named[] = [];
  readonly #evicted: Named[] = [];
  #numOwnersEnded = 0;

  constructor(sizes: readonly number[], numSlabs: number, tailBytes: number) {
    const layout = planSlabs(sizes);
    this.model = new SlabModel(layout, numSlabs);
    this.pool = new SlabPool(layout, numSlabs * layout.slabBytes + tailBytes, (group, id) => {
      this.#evicted.push({ group, id });
    });
  }

  run({ verb, pick, owner, count }: Operation): void {
    const choose = (from: Named[]) => from[pick % from.length];
    const numGroups = this.model.layout.cuts.length;
    if (verb === "one") this.#allocateOne(this.#id(owner), pick % numGroups, count);
    if (verb === "all") this.allocate(this.#id(owner), this.demand(pick, count));
    if (verb === "end") {
      this.pool.forgetOwner(this.#id(owner));
      this.model.forget(this.#id(owner));
      this.#numOwnersEnded++;
    }
    const known = choose([...this.model.used(), ...this.model.cached()]);
    if (verb === "retain" && known !== undefined) {
      this.pool.retain(known.group, [known.id]);
      this.model.retain(known);
      this.held.push(known);
    }
    if (verb === "release" && this.held.length > 0) {
      if (count > 2) this.pool.tick();
      const [named] = this.held.splice(pick % this.held.length, 1);
      this.pool.release(named!.group, named!.id);
      this.model.release(named!);
    }
    const used = choose(this.model.used());
    if (verb === "mark" && used !== undefined) {
      this.pool.mark(used.group, used.id);
      this.model.mark(used);
    }
    const marked = choose(this.model.marked());
    if (verb === "unmark" && marked !== undefined) {
      this.pool.unmark(marked.group, marked.id);
      this.model.unmark(marked);
    }
  }

  /** Some marked blocks as hits, and counts, for every group. */
  demand(pick: number, count: number): Demand {
    const groups = this.model.layout.cuts.map((_, group) => group);
    const marked = this.model.marked().filter((_, i) => (pick >> i % 10) % 2 === 1);
    const hits = groups.map((group) => marked.filter((b) => b.group === group).map((b) => b.id));
    return { counts: groups.map((group) => (count + group * pick) % 4), hits };
  }

  allocate(owner: number, demand: Demand): BlockId[][] | undefined {
    const isFeasible = this.model.isFeasible(demand);
    const taken = this.pool.tryAllocate(owner, demand);
    assertEquals(taken !== undefined, isFeasible, "all groups or none");
    if (taken === undefined) {
      assertEquals(this.#evicted, []);
      return undefined;
    }
    const named = (lists: readonly (readonly BlockId[])[]) =>
      lists.flatMap((ids, group) => ids.map((id) => ({ group, id })));
    const hits = named(demand.hits ?? []);
    hits.forEach((hit) => this.model.retain(hit));
    this.model.takeAll(owner, named(taken), this.#evicted.splice(0));
    assertEquals(taken.map((ids) => ids.length), demand.counts);
    this.held.push(...hits, ...named(taken));
    return taken;
  }

  #allocateOne(owner: number, group: number, count: number): void {
    const counts = this.model.layout.cuts.map((_, g) => g === group ? count : 0);
    const isFeasible = this.model.isFeasible({ counts });
    const taken = this.pool.tryAllocate(owner, { counts });
    assertEquals(taken !== undefined, isFeasible, "all or nothing");
    for (const id of taken?.[group] ?? []) {
      this.model.take(owner, { group, id }, this.#evicted);
      this.held.push({ group, id });
    }
    assertEquals(this.#evicted, [], "evicted more than was needed");
  }

  /** Owners that end are not seen again. */
  #id(owner: number): number {
    return owner + 3 * this.#numOwnersEnded;
  }
}

Deno.test("SlabPool agrees with a model that looks for everything, in states and in order (I1-I3, I5)", () => {
  let numOperations = 0;
  fc.assert(
    fc.property(POOL, ({ sizes, numSlabs, tailBytes, history }) => {
      const rig = new Rig(sizes, numSlabs, tailBytes);
      for (const operation of history) {
        rig.run(operation);
        rig.model.assertAgrees(rig.pool);
        numOperations++;
      }
      for (const { group, id } of rig.held.splice(0)) rig.pool.release(group, id);
      assertEquals(rig.pool.numAvailableSlabs, numSlabs, "idle, and a slab is lost (I16)");
    }),
    { seed: 41, numRuns: runs(NUM_OPERATIONS / HISTORY_LENGTH) },
  );
  assert(numOperations >= times(NUM_OPERATIONS));
});

Deno.test("SlabPool.tryAllocate() that fails leaves nothing behind, not even in an order (I6, I7, I15)", () => {
  let [numOperations, numFailures] = [0, 0];
  fc.assert(
    fc.property(POOL, ({ sizes, numSlabs, tailBytes, history }) => {
      const tried = new Rig(sizes, numSlabs, tailBytes);
      const spared = new Rig(sizes, numSlabs, tailBytes);
      for (const operation of history) {
        const demand = tried.demand(operation.pick, operation.count + 1);
        if (!tried.pool.canAllocate(demand)) {
          assertEquals(tried.allocate(operation.owner, demand), undefined);
          numFailures++;
        }
        tried.run(operation);
        spared.run(operation);
        assertEquals(tried.held, spared.held, "the same history gave other blocks");
        numOperations++;
      }
    }),
    { seed: 42, numRuns: runs(NUM_OPERATIONS / HISTORY_LENGTH) },
  );
  assert(
    numOperations >= times(NUM_OPERATIONS) && numFailures > times(NUM_OPERATIONS / 100),
    `${numFailures}`,
  );
});
