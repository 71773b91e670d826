/** Seeds are integers in `[0, NUM_SEEDS)`: all that a double holds exactly. */
export const NUM_SEEDS = 2 ** 53;

/**
 * Makes the source of seeds for requests that bring none: the same sequence for the same `seed`, an
 * unpredictable one without. Mixing after SplitMix64 (Steele 2014, doi:10.1145/2660193.2660195).
 */
export function createSeedSource(seed?: number): () => number {
  let state = seed === undefined ? crypto.getRandomValues(new BigUint64Array(1))[0]! : BigInt(seed);
  return () => {
    state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n);
    let mixed = state;
    mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 30n)) * 0xbf58476d1ce4e5b9n);
    mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn);
    return Number((mixed ^ (mixed >> 31n)) >> 11n);
  };
}

/** The seed of the `index`-th of a prompt's samples: `seed + index`, wrapped to stay a seed. */
export function seedOfSample(seed: number, index: number): number {
  const room = NUM_SEEDS - seed;
  return index < room ? seed + index : index - room;
}
