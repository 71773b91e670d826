/** What is used of the bindings, of version 3.22.1 (`dist/bindings/AddonTypes.d.ts` there). */
export interface AddonContext {
  initBatch(size: number): void;
  /** Returns the places of the logits asked for in the batch to come. */
  addToBatch(
    sequence: number,
    position: number,
    tokens: Uint32Array,
    logits: Uint32Array,
  ): Uint32Array;
  decodeBatch(): Promise<void>;
  sampleToken(place: number, sampler: unknown): Promise<number>;
  sampleToken(
    place: number,
    sampler: unknown,
    probabilities: true,
  ): Promise<[token: number, probabilities: number[]]>;
  disposeSequence(sequence: number): void;
  getThreads(): number;
}
