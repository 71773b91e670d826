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
