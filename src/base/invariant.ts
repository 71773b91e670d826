/** A bug of ours, not of a caller or the world: nobody catches it, the isolate dies loudly. */
export class InvariantError extends Error {
  override name = "InvariantError";
}

/**
 * Throws {@link InvariantError} unless `condition` holds. Where each sequence of each step passes, throw
 * it yourself: a message costs more than what it guards.
 */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
