import { ExactReservations, type Reservations, StaticBatches, UNRESERVED } from "./reservations.ts";

/** The memory that all modes have, in positions. */
export interface ServingMemory {
  readonly contextLen: number;
  readonly numPositions: number;
  /** Seats where memory is paged. */
  readonly maxNumSeqs: number;
}

/** A way to serve: flags of the server, and what its clients emulate. */
export interface ServingMode {
  readonly name: string;
  /** What it stands for. */
  readonly meaning: string;
  readonly numSeats: number;
  readonly hasPrefixCache: boolean;
  readonly reservations: () => Reservations;
}

/** Contexts that lie in memory side by side. */
export function numContexts({ contextLen, numPositions }: ServingMemory): number {
  return Math.floor(numPositions / contextLen);
}

/** Ways to serve a load in which nothing is shared, the base first. */
export function batchingModes(memory: ServingMemory): ServingMode[] {
  const reserved = { numSeats: numContexts(memory), hasPrefixCache: false };
  const paged = { numSeats: memory.maxNumSeqs, hasPrefixCache: false };
  const anyTime = () => UNRESERVED;
  return [
    {
      name: "contiguous",
      meaning:
        `continuous batching; each sequence reserves a whole context, so ${reserved.numSeats} run`,
      ...reserved,
      reservations: anyTime,
    },
    {
      name: "static",
      meaning: `${reserved.numSeats} at a time, the next ones when all of these have ended`,
      ...reserved,
      reservations: () => new StaticBatches(reserved.numSeats),
    },
    {
      name: "oracle",
      meaning: "each sequence reserves just its prompt and answer, whose lengths are known before",
      ...paged,
      reservations: () => new ExactReservations(memory.numPositions),
    },
    { name: "paged", meaning: "blocks of 16 as sequences grow", ...paged, reservations: anyTime },
  ];
}

/** Ways to serve a load of few system prompts, the base first. */
export function sharingModes(memory: ServingMemory): ServingMode[] {
  const paged = { numSeats: memory.maxNumSeqs, reservations: () => UNRESERVED };
  return [
    {
      name: "paged",
      meaning: "each computes its own system prompt",
      ...paged,
      hasPrefixCache: false,
    },
    {
      name: "paged, cache",
      meaning: "system prompts are computed once and shared",
      ...paged,
      hasPrefixCache: true,
    },
  ];
}
