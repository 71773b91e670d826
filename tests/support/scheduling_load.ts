import type { GenerationRequest } from "../../src/core/generation.ts";
import type { KvDecision } from "../../src/core/kv_decision.ts";
import { type RigOptions, SchedulerRig } from "./scheduler_rig.ts";

/** A request, and the step before which it comes. */
export interface Arrival {
  readonly step: number;
  readonly request: GenerationRequest;
}

/** What a scheduler did for a load, as its decisions tell. */
export interface PlayedLoad {
  readonly rig: SchedulerRig;
  /** First admissions, as indices into the arrivals, in order. */
  readonly admitted: readonly number[];
  /** Arrivals that had come when the so-manieth of `admitted` was. */
  readonly numArrived: readonly number[];
  /** Most arrivals that waited at once, those that have run before among them. */
  readonly mostWaiting: number;
  /** By arrival: first admissions in steps in which it was passed over for a prefix or its length. */
  readonly numWhilePassed: ReadonlyMap<number, number>;
}

/** Plays requests of one sequence each, in order of their steps, to the end. */
export function playLoad(arrivals: readonly Arrival[], options: RigOptions): PlayedLoad {
  const admitted: number[] = [];
  const numArrived: number[] = [];
  const numWhilePassed = new Map<number, number>();
  let passed = new Set<number>();
  let numCome = 0;
  let mostWaiting = 0;
  const seen = new Set<number>();
  const onDecision = (decision: KvDecision) => {
    const { type, sequenceId: id } = decision;
    if (type === "wait" && decision.reason !== "queue") passed.add(id!);
    if (type !== "admit" || seen.has(id!)) return;
    seen.add(id!);
    admitted.push(id!);
    numArrived.push(numCome);
    for (const other of passed) {
      if (other !== id) numWhilePassed.set(other, (numWhilePassed.get(other) ?? 0) + 1);
    }
  };
  const rig = new SchedulerRig({ ...options, onDecision });
  for (let step = 0; numCome < arrivals.length || rig.scheduler.hasWork; step++) {
    if (step > 20_000) throw new Error("the load does not end");
    passed = new Set();
    while ((arrivals[numCome]?.step ?? Infinity) <= step) rig.add(arrivals[numCome++]!.request);
    mostWaiting = Math.max(mostWaiting, rig.scheduler.stats.numWaiting);
    rig.step();
  }
  return { rig, admitted, numArrived, mostWaiting, numWhilePassed };
}
