/** A bug in this program, not a mistake of a caller: nobody catches it, and it ends the isolate. */
export class InvariantError extends Error {
  override name = "InvariantError";
}

/**
 * Throws {@link InvariantError} unless `condition` holds. Code that runs per block, or per sequence
 * of a step, throws it itself: the message is made with every call and costs more than the check.
 */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
