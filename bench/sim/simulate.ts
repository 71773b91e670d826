import { Arrivals } from "./arrivals.ts";
import { type StepCosts, stepMsOf } from "./costs.ts";
import type { Load, Session, Turn } from "./load.ts";
import type { Progress, ServerTotals, SimServer } from "./sim_server.ts";

/** One request in simulated time, milliseconds. */
export interface RequestTimes {
  readonly session: Session;
  readonly turn: Turn;
  readonly arrivedMs: number;
  /** NaN while there is none. */
  firstTokenMs: number;
  endMs: number;
  numTokens: number;
  outcome: "unfinished" | "finished" | "failed" | "refused";
}

/** Sums over all steps. */
export interface StepSums {
  numSteps: number;
  numTokens: number;
  numSequences: number;
  /** Milliseconds in which something was computed. */
  busyMs: number;
  /** Held and empty positions, each times the milliseconds of its step. */
  heldMs: number;
  emptyMs: number;
}

/** All that happened in a simulation. */
export interface Simulated {
  readonly requests: readonly RequestTimes[];
  /** Milliseconds from each token of a request to its next. */
  readonly gapsMs: readonly number[];
  readonly steps: Readonly<StepSums>;
  readonly totals: ServerTotals;
}

/** Makes a server on a simulated clock. */
export type MakeServer = (now: () => number) => SimServer;

/** A load on its way through a server. */
class Simulation {
  readonly requests: (RequestTimes & { readonly at: number; lastMs: number })[] = [];
  readonly gapsMs: number[] = [];
  readonly steps: StepSums = {
    numSteps: 0,
    numTokens: 0,
    numSequences: 0,
    busyMs: 0,
    heldMs: 0,
    emptyMs: 0,
  };
  readonly server: SimServer;
  readonly #arrivals: Arrivals;
  readonly #costs: StepCosts;
  #nowMs = 0;

  constructor(load: Load, make: MakeServer, costs: StepCosts) {
    this.server = make(() => this.#nowMs);
    this.#arrivals = new Arrivals(load);
    this.#costs = costs;
    this.server.noteCosts?.(costs);
  }

  run(): void {
    for (;;) {
      this.#receive();
      if (this.server.hasWork) this.#step();
      else if (this.#arrivals.nextMs === undefined) return;
      else this.#nowMs = Math.max(this.#nowMs, this.#arrivals.nextMs);
    }
  }

  #receive(): void {
    for (;;) {
      const due = this.#arrivals.take(this.#nowMs);
      if (due === undefined) return;
      const { session, at, atMs } = due;
      const turn = session.turns[at]!;
      const times = { firstTokenMs: NaN, endMs: NaN, lastMs: NaN, numTokens: 0 };
      const index = this.requests.length;
      this.requests.push({ session, turn, at, arrivedMs: atMs, outcome: "unfinished", ...times });
      if (!this.server.add({ index, session, turn })) this.#end(index, "refused");
    }
  }

  #step(): void {
    const step = this.server.step();
    if (step === undefined) return this.#apply(this.server.takeProgress());
    const { work } = step;
    const ms = stepMsOf(this.#costs, work);
    this.#nowMs += ms;
    this.steps.numSteps++;
    this.steps.numTokens += work.numTokens;
    this.steps.numSequences += work.numSequences;
    this.steps.busyMs += ms;
    this.steps.heldMs += work.numHeld * ms;
    this.steps.emptyMs += work.numEmpty * ms;
    this.#apply(step.finish());
  }

  #apply(progress: readonly Progress[]): void {
    for (const { index, hasToken, end } of progress) {
      const request = this.requests[index]!;
      if (hasToken) {
        if (request.numTokens === 0) request.firstTokenMs = this.#nowMs;
        else this.gapsMs.push(this.#nowMs - request.lastMs);
        request.lastMs = this.#nowMs;
        request.numTokens++;
      }
      if (end !== undefined) this.#end(index, end);
    }
  }

  /** A session goes on after a turn whatever became of it. */
  #end(index: number, outcome: RequestTimes["outcome"]): void {
    const request = this.requests[index]!;
    request.outcome = outcome;
    request.endMs = this.#nowMs;
    this.#arrivals.enter(request.session, request.at + 1, this.#nowMs);
  }
}

/**
 * Serves a load in simulated time: steps follow one another, each as long as its work costs, and
 * requests join between two steps. The same load, server and costs give the same result.
 */
export function simulate(load: Load, make: MakeServer, costs: StepCosts): Simulated {
  const simulation = new Simulation(load, make, costs);
  simulation.run();
  const { requests, gapsMs, steps, server: { totals } } = simulation;
  return { requests, gapsMs, steps, totals };
}
