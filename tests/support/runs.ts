/**
 * How often property tests run: the one place from which `deno task test:quick` makes them few.
 *
 * A full run takes the numbers as they stand in the tests. With `QUIRE_TEST_QUICK` set, each
 * property runs a twentieth as often, with the same seed, and what has to have happened meanwhile
 * shrinks along.
 */
export const IS_QUICK = Deno.env.has("QUIRE_TEST_QUICK");
const QUICK_SHARE = 1 / 20;
/** Fewest runs of a property in a quick run; where a full one has fewer, it has those. */
const MIN_RUNS = 10;

/** Runs of a property that a full run checks `full` times. */
export function runs(full: number): number {
  return IS_QUICK ? Math.min(full, Math.max(MIN_RUNS, Math.ceil(full * QUICK_SHARE))) : full;
}

/**
 * How often something has to have happened in all runs of a property, of which a full run asks for
 * `full`; a quick run, whose few histories differ more, asks for a quarter of its share.
 */
export function times(full: number): number {
  return IS_QUICK ? Math.floor(full * QUICK_SHARE / 4) : full;
}

/** All of a test's cases; in a quick run the first `numQuick`, where each case takes long. */
export function cases<T>(all: readonly T[], numQuick: number): readonly T[] {
  return IS_QUICK ? all.slice(0, numQuick) : all;
}
