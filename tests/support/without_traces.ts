/**
 * Calls what may refuse, as is expected and happens often, without recording where: the trace of an
 * error takes longer than most calls.
 */
export function withoutTraces<T>(call: () => T): T {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return call();
  } finally {
    Error.stackTraceLimit = before;
  }
}

/** As {@link withoutTraces} of what goes on until a promise ends. */
export async function untracedUntilEnd<T>(call: () => Promise<T>): Promise<T> {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return await call();
  } finally {
    Error.stackTraceLimit = before;
  }
}
