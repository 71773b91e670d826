import { ExactReservations, type Reservations, StaticBatches, UNRESERVED } from "./reservations.ts";
import {
  type ServingPlace,
  type ServingServer,
  startLlama,
  startQuire,
} from "./serving_servers.ts";

/** A way to serve, and what its clients emulate. */
export interface ServingMode {
  readonly name: string;
  /** What it stands for. */
  readonly meaning: string;
  readonly start: () => Promise<ServingServer>;
  readonly reservations: () => Reservations;
}

const anyTime = () => UNRESERVED;

/** Ways to serve a load in which nothing is shared, the base first. */
export function batchingModes(place: ServingPlace): ServingMode[] {
  const { memory: { contextLen, numPositions, maxNumSeqs }, llamaDir } = place;
  const numContexts = Math.floor(numPositions / contextLen);
  const quire = (numSeats: number) => () => startQuire({ numSeats, hasPrefixCache: false }, place);
  const llama = (numSlots: number) => ({
    start: () => startLlama(llamaDir!, numSlots, place),
    reservations: anyTime,
  });
  return [
    {
      name: "contiguous",
      meaning: `continuous batching; a sequence reserves a whole context, so ${numContexts} run`,
      start: quire(numContexts),
      reservations: anyTime,
    },
    {
      name: "static",
      meaning: `${numContexts} at a time, the next ones when all of these have ended`,
      start: quire(numContexts),
      reservations: () => new StaticBatches(numContexts),
    },
    {
      name: "oracle",
      meaning: "a sequence reserves its prompt and answer, whose lengths are known before",
      start: quire(maxNumSeqs),
      reservations: () => new ExactReservations(numPositions),
    },
    {
      name: "paged",
      meaning: "blocks of 16 as sequences grow",
      start: quire(maxNumSeqs),
      reservations: anyTime,
    },
    ...(llamaDir === undefined ? [] : [
      {
        name: "llama.cpp",
        meaning: `its own batching on the CPU, ${numContexts} slots of a context each`,
        ...llama(numContexts),
      },
      {
        name: "llama.cpp, 4x",
        meaning: `${4 * numContexts} slots: four times the memory`,
        ...llama(4 * numContexts),
      },
    ]),
  ];
}

/** Ways to serve a load of few system prompts, the base first. */
export function sharingModes(place: ServingPlace): ServingMode[] {
  const { memory: { contextLen, numPositions, maxNumSeqs }, llamaDir } = place;
  const numSlots = Math.floor(numPositions / contextLen);
  const quire = (hasPrefixCache: boolean) => () =>
    startQuire({ numSeats: maxNumSeqs, hasPrefixCache }, place);
  return [
    {
      name: "paged",
      meaning: "each computes its own system prompt",
      start: quire(false),
      reservations: anyTime,
    },
    {
      name: "paged, cache",
      meaning: "system prompts are computed once and shared",
      start: quire(true),
      reservations: anyTime,
    },
    ...(llamaDir === undefined ? [] : [{
      name: "llama.cpp",
      meaning: `${numSlots} slots, of which a request gets the one that begins most alike`,
      start: () => startLlama(llamaDir, numSlots, place),
      reservations: anyTime,
    }]),
  ];
}
