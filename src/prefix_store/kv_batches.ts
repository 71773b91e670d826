/**
 * Bounds of one atomic write. Deno KV takes 1,000 mutations and 819,200 bytes of keys and values;
 * these stay well below, so that encoding a batch holds up the isolate for about a millisecond.
 */
export const BATCH_LIMITS = { numMutations: 256, bytes: 400 * 1024 } as const;

/**
 * Cuts `items` into runs, in order, that are each within {@link BATCH_LIMITS}. `bytesOf` is an
 * upper bound of what an item takes, key and value.
 */
export function* toBatches<T>(
  items: Iterable<T>,
  bytesOf: (item: T) => number,
): Generator<readonly T[]> {
  let batch: T[] = [];
  let batchBytes = 0;
  for (const item of items) {
    const bytes = bytesOf(item);
    const isFull = batch.length === BATCH_LIMITS.numMutations ||
      batchBytes + bytes > BATCH_LIMITS.bytes;
    if (isFull && batch.length > 0) {
      yield batch;
      batch = [];
      batchBytes = 0;
    }
    batch.push(item);
    batchBytes += bytes;
  }
  if (batch.length > 0) yield batch;
}
