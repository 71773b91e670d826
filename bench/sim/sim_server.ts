import type { Session, Turn } from "./load.ts";
import type { StepCosts } from "./costs.ts";
import type { StepWork } from "./step_work.ts";

/** A request as it arrives. */
export interface Arrival {
  /** Its place among all requests that have arrived. */
  readonly index: number;
  readonly session: Session;
  readonly turn: Turn;
}

/** What became of a request in a step. */
export interface Progress {
  readonly index: number;
  /** Whether it has one more token. */
  readonly hasToken: boolean;
  /** Absent: it goes on. */
  readonly end?: "finished" | "failed";
}

/** A planned step, which takes the time that its work costs. */
export interface SimStep {
  readonly work: StepWork;
  /** Ends the step, and says what became of its requests. */
  readonly finish: () => readonly Progress[];
}

/** Totals of a server's life. */
export interface ServerTotals {
  readonly numPreemptions: number;
  /** Prompt tokens looked up, and those of them found computed. */
  readonly numQueried: number;
  readonly numHit: number;
}

/** A server in simulated time: it says what a step computes, and not how long that takes. */
export interface SimServer {
  readonly hasWork: boolean;
  readonly totals: ServerTotals;
  /** Is told what steps take, where it weighs that. */
  noteCosts?(costs: StepCosts): void;
  /** Queues a request; false when it can never be served. */
  add(arrival: Arrival): boolean;
  /** Plans a step; undefined when none is left to plan, as `takeProgress` may explain. */
  step(): SimStep | undefined;
  /** Ends that no step has told. */
  takeProgress(): readonly Progress[];
}
