/**
 * Descriptors left to the engine's files, driver and workers, and to connections about to be
 * closed.
 */
const RESERVE = 128;
const FEWEST_CONNECTIONS = 8;

/**
 * How many of `maxConnections` the process has file descriptors for. Past its limit no connection
 * can be accepted any more, and Deno's listeners do not come back from that.
 *
 * There is no way to ask for the limit, so this opens that many descriptors and closes them again
 * (a few ms); `open` opens one. Where it may not, the answer is `maxConnections`.
 */
export function affordableConnections(
  maxConnections: number,
  open: () => { close(): void } = openSomething,
): number {
  const opened: { close(): void }[] = [];
  try {
    while (opened.length < maxConnections + RESERVE) opened.push(open());
  } catch {
    if (opened.length === 0) return maxConnections;
  } finally {
    for (const descriptor of opened) descriptor.close();
  }
  return Math.max(FEWEST_CONNECTIONS, Math.min(maxConnections, opened.length - RESERVE));
}

/** This source file, or a compiled binary's own file. */
function openSomething(): { close(): void } {
  return Deno.openSync(Deno.build.standalone ? Deno.execPath() : import.meta.filename!);
}
