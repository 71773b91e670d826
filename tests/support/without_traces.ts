/**
 * Awaits what may fail, as is expected and happens often, without recording where: the streams of
 * node read the trace of each error, and to make its text takes longer than the rest.
 */
export async function withoutTraces<T>(call: () => Promise<T>): Promise<T> {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return await call();
  } finally {
    Error.stackTraceLimit = before;
  }
}
