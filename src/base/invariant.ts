/** A bug of ours, not of a caller or the world: nobody catches it, the isolate dies loudly. */
export class InvariantError extends Error {
  override name = "InvariantError";
}

/** Throws {@link InvariantError} unless `condition` holds. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
