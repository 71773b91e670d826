import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import fc from "fast-check";
import { RequestError } from "../../../src/core/errors.ts";
import type { GenerationRequest } from "../../../src/core/generation.ts";
import { QUANTUM } from "../../../src/scheduler/policies/fair_policy.ts";
import {
  MAX_PREFIX_ORDERED,
  MIN_OVERTAKEN,
} from "../../../src/scheduler/policies/longest_prefix_policy.ts";
import { FULL, STATE } from "../../support/kv_groups.ts";
import { requestOf } from "../../support/requests.ts";
import { runs } from "../../support/runs.ts";
import { type Arrival, playLoad } from "../../support/scheduling_load.ts";
import { chunksOf, SchedulerRig } from "../../support/scheduler_rig.ts";

/** A request of so many tokens in and out, whose prompt is all `token`. */
function request(
  id: string,
  [numIn, numOut]: readonly [number, number],
  fields: Partial<GenerationRequest> & { readonly token?: number } = {},
): GenerationRequest {
  const { token = 1, ...rest } = fields;
  const { sequences: [sequence] } = requestOf(id, numIn, { maxTokens: numOut });
  return { id, sequences: [{ ...sequence!, prompt: new Uint32Array(numIn).fill(token) }], ...rest };
}

const lengths = fc.tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 6 }));

/** Up to 40 arrivals that rise in time. */
function arrivalsOf<T>(fields: fc.Arbitrary<T>): fc.Arbitrary<(T & { readonly step: number })[]> {
  return fc.array(fc.tuple(fc.nat(2), fields), { minLength: 5, maxLength: 40 }).map((list) => {
    let step = 0;
    return list.map(([wait, own]) => ({ ...own, step: step += wait }));
  });
}

const TIGHT = { numBlocks: 14, blockSize: 2, maxNumSeqs: 4, maxNumBatchedTokens: 16 };

Deno.test("fcfs overtakes nobody: with one key, first admissions are in order of arrival", () => {
  const loads = arrivalsOf(fc.record({ size: lengths }));
  fc.assert(
    fc.property(loads, (load) => {
      const arrivals = load.map(({ step, size }, i) => ({ step, request: request(`${i}`, size) }));
      const { admitted } = playLoad(arrivals, { ...TIGHT, schedulingPolicy: "fcfs" });
      assertEquals(admitted, load.map((_, i) => i));
    }),
    { seed: 1, numRuns: runs(200) },
  );
});

Deno.test("priority admits the most urgent of those that have come, and of equals the earliest", () => {
  const loads = arrivalsOf(fc.record({
    size: lengths,
    ownerPriority: fc.integer({ min: 0, max: 1 }),
    requestPriority: fc.integer({ min: -1, max: 1 }),
  }));
  let numOvertaking = 0;
  fc.assert(
    fc.property(loads, (load) => {
      const arrivals = load.map(({ step, size, ...fields }, i) => ({
        step,
        request: request(`${i}`, size, { ...fields, owner: `p${fields.ownerPriority}` }),
      }));
      const played = playLoad(arrivals, { ...TIGHT, schedulingPolicy: "priority" });
      const priorityOf = (i: number) => 10 * load[i]!.ownerPriority + load[i]!.requestPriority;
      played.admitted.forEach((id, at) => {
        const later = played.admitted.slice(at + 1).filter((other) =>
          other < played.numArrived[at]!
        );
        for (const other of later) {
          const order = priorityOf(id) - priorityOf(other) || other - id;
          assert(order > 0, `${id} goes before ${other}`);
          if (id > other) numOvertaking++;
        }
      });
    }),
    { seed: 2, numRuns: runs(200) },
  );
  assert(numOvertaking > 10, `${numOvertaking} overtake`);
});

Deno.test("priority gives an urgent request the blocks of the least urgent that runs, which goes on later", () => {
  // Five blocks of 16: the urgent one has to wait for a block, or take it.
  const rig = new SchedulerRig({ numBlocks: 5, blockSize: 16, schedulingPolicy: "priority" });
  rig.add(request("low", [30, 40], { requestPriority: -1 }), request("middle", [20, 20]));
  rig.step();
  rig.add(request("high", [32, 3], { requestPriority: 3 }));
  assertEquals(chunksOf(rig.step()), [[1, 20, 1], [2, 0, 32]]);
  assertEquals(rig.tokensOf("low").length, 1, "it keeps what it has drawn");
  rig.finish();
  assertEquals(["low", "middle", "high"].map((id) => rig.tokensOf(id).length), [40, 20, 3]);
  const alone = new SchedulerRig();
  alone.add(request("low", [30, 40]));
  alone.finish();
  assertEquals(rig.tokensOf("low"), alone.tokensOf("low"));
});

Deno.test("priority preempts nobody where all that is less urgent would not be enough, nor for an equal", () => {
  const rig = new SchedulerRig({ numBlocks: 8, blockSize: 2, schedulingPolicy: "priority" });
  rig.add(request("high", [8, 2], { requestPriority: 1 }), request("low", [2, 2]));
  rig.step();
  rig.add(request("large", [8, 2], { requestPriority: 1 }));
  assertEquals(chunksOf(rig.step()).map(([id]) => id), [0, 1]);
  assertEquals(rig.scheduler.stats.numPreemptions, 0);
  rig.finish();
});

Deno.test("priority preempts nobody while a prompt is computed up to where its states are kept", () => {
  const rig = new SchedulerRig({
    groups: [FULL, STATE],
    blocksPerSlab: [1, 1],
    maxNumBatchedTokens: 4,
    schedulingPolicy: "priority",
    prefixCache: {},
  });
  rig.add(request("low", [1, 20], { requestPriority: -1 }));
  rig.step();
  rig.add(request("high", [22, 2], { token: 2, requestPriority: 2 }));
  rig.step();
  rig.add(request("middle", [2, 2], { token: 3, requestPriority: 1 }));
  rig.step();
  assertMatch(
    rig.scheduler.describeQueue(),
    /middle\[0\] waits: .* up to where its states are kept/,
  );
  rig.finish();
  assertEquals(rig.scheduler.stats.numPreemptions, 0, "room for a seat is no use to it yet");
});

Deno.test("priority takes a seat as it takes blocks, and chooses none twice", () => {
  const rig = new SchedulerRig({ maxNumSeqs: 2, schedulingPolicy: "priority" });
  rig.add(request("a", [1, 30]), request("b", [1, 30]));
  rig.step();
  rig.add(
    request("c", [1, 30], { requestPriority: 1 }),
    request("d", [1, 30], { requestPriority: 2 }),
  );
  assertEquals(chunksOf(rig.step()).map(([id]) => id), [0, 3], "the head alone takes a seat");
  assertEquals(chunksOf(rig.step()).map(([id]) => id), [3, 2]);
  assertEquals(rig.scheduler.stats.numPreemptions, 2);
  rig.finish();
});

Deno.test("a priority of a request is refused where the policy is another", () => {
  const rig = new SchedulerRig();
  const { data } = assertThrows(
    () => rig.add(request("a", [1, 1], { requestPriority: 1 })),
    RequestError,
    "this server schedules by fcfs",
  );
  assertEquals([data.status, data.code, data.param], [400, "unsupported_parameter", "priority"]);
  rig.add(request("a", [1, 1], { requestPriority: 0 }));
});

const CACHED = { ...TIGHT, numBlocks: 30, prefixCache: { policy: "lru" as const } };

Deno.test("lpm admits the longest cached prefix first, and the earliest of equals", () => {
  const rig = new SchedulerRig({ ...CACHED, maxNumSeqs: 1, schedulingPolicy: "lpm" });
  rig.add(request("seven", [8, 1], { token: 7 }), request("nine", [4, 1], { token: 9 }));
  rig.finish();
  rig.add(request("cold", [9, 1], { token: 3 }), request("short", [9, 1], { token: 9 }));
  rig.add(request("long", [9, 1], { token: 7 }), request("cold too", [2, 1], { token: 4 }));
  const ids = Array.from({ length: 4 }, () => chunksOf(rig.step()).map(([id]) => id)).flat();
  assertEquals(ids, [4, 3, 2, 5]);
});

/** One cold request against a stream of hits, so many at first, that never ends while it waits. */
function coldAmongHits(numAtOnce: number, numMore: number): readonly Arrival[] {
  const cold = { step: 1, request: request("cold", [6, 1], { token: 3 }) };
  const first = { step: 0, request: request("first", [6, 3], { token: 7 }) };
  const hits = Array.from({ length: numAtOnce + numMore }, (_, i): Arrival => ({
    step: 1 + Math.max(0, Math.ceil((i + 1 - numAtOnce) / 4)),
    request: request(`${i}`, [6, 1], { token: 7 }),
  }));
  return [first, cold, ...hits];
}

const ONE_SEAT = { ...CACHED, maxNumSeqs: 1, maxNumQueuedSeqs: 4096 } as const;

Deno.test(`lpm lets ${MIN_OVERTAKEN} later arrivals overtake a request, or as many as have waited at once`, () => {
  const options = { ...ONE_SEAT, schedulingPolicy: "lpm" } as const;
  const few = playLoad(coldAmongHits(4, 40), options).admitted;
  assertEquals(few.indexOf(1), 45, "all, where they are fewer");
  for (const numAtOnce of [70, 150]) {
    const load = coldAmongHits(numAtOnce, numAtOnce);
    const { admitted, mostWaiting } = playLoad(load, options);
    assert(mostWaiting > numAtOnce);
    assertEquals(admitted.indexOf(1), 1 + mostWaiting);
  }
});

Deno.test(`lpm is fcfs while more than ${MAX_PREFIX_ORDERED} wait`, () => {
  const options = { ...ONE_SEAT, schedulingPolicy: "lpm" } as const;
  const { admitted } = playLoad(coldAmongHits(MAX_PREFIX_ORDERED + 20, 0), options);
  assertEquals(admitted.slice(0, 4), [0, 1, 2, 3]);
  const fewer = playLoad(coldAmongHits(MAX_PREFIX_ORDERED - 1, 0), options).admitted;
  assertEquals(fewer.slice(0, 4), [0, 2, 3, 4]);
});

Deno.test("lpm keeps its bound under random loads", () => {
  const loads = arrivalsOf(fc.record({ size: lengths, token: fc.integer({ min: 1, max: 3 }) }));
  fc.assert(
    fc.property(loads, (load) => {
      const arrivals = load.flatMap(({ step, size, token }, i) =>
        Array.from({ length: 3 }, (_, j) => ({
          step,
          request: request(`${i}.${j}`, size, { token }),
        }))
      );
      const options = { ...CACHED, maxNumSeqs: 2, schedulingPolicy: "lpm" } as const;
      const { admitted, numWhilePassed, mostWaiting } = playLoad(arrivals, options);
      const most = Math.max(MIN_OVERTAKEN, mostWaiting);
      admitted.forEach((id, at) => {
        const numOvertaken = admitted.slice(0, at).filter((other) => other > id).length;
        const limit = most + (numWhilePassed.get(id) ?? 0);
        assert(numOvertaken <= limit, `${id} is overtaken ${numOvertaken} times`);
      });
    }),
    { seed: 4, numRuns: runs(100) },
  );
});

Deno.test("fair gives two keys that always wait the same tokens, whatever their lengths, to within its bound", () => {
  const sizes = fc.tuple(fc.integer({ min: 50, max: 900 }), fc.integer({ min: 50, max: 900 }));
  fc.assert(
    fc.property(sizes, ([small, large]) => {
      const owners = { small, large };
      const arrivals = Object.entries(owners).flatMap(([owner, size]) =>
        Array.from({ length: 60 }, (_, i): Arrival => ({
          step: 0,
          request: request(`${owner}${i}`, [size, 1], { owner }),
        }))
      );
      const { admitted } = playLoad(arrivals, {
        ...{ numBlocks: 64, blockSize: 16, maxNumSeqs: 2, maxNumBatchedTokens: 1024 },
        ...{ schedulingPolicy: "fair", maxModelLen: 2000 },
      });
      const served = { small: 0, large: 0 };
      const bound = QUANTUM + 2 * (1 + Math.max(small, large));
      const numLeft = { small: 60, large: 60 };
      for (const id of admitted) {
        const owner = id < 60 ? "small" : "large";
        served[owner] += owners[owner] + 1;
        numLeft[owner]--;
        // Only while both wait.
        if (numLeft.small === 0 || numLeft.large === 0) break;
        const difference = Math.abs(served.small - served.large);
        assert(difference <= bound, `one has ${difference} tokens more`);
      }
      assert(Math.min(served.small, served.large) > 10 * Math.min(small, large));
    }),
    { seed: 5, numRuns: runs(40) },
  );
});

Deno.test("fair serves a newcomer before the rest of a flood, also where there is one seat and fcfs counts none", () => {
  const flood = Array.from({ length: 20 }, (_, i): Arrival => ({
    step: 0,
    request: request(`flood${i}`, [600, 1], { owner: "flood" }),
  }));
  const late = Array.from({ length: 4 }, (_, i): Arrival => ({
    step: 3,
    request: request(`late${i}`, [60, 1], { owner: "late" }),
  }));
  const options = { numBlocks: 64, blockSize: 16, maxNumSeqs: 1, maxNumBatchedTokens: 700 };
  const order = (schedulingPolicy: "fair" | "fcfs") => {
    const { admitted } = playLoad([...flood, ...late], { ...options, schedulingPolicy });
    return [20, 21, 22, 23].map((id) => admitted.indexOf(id));
  };
  assert(Math.max(...order("fair")) < 10, `the newcomer is served at ${order("fair")}`);
  assertEquals(order("fcfs"), [20, 21, 22, 23], "no flood, or no use for the policy");
});
