/**
 * Descriptors reserved for the engine's files, driver and workers, and for connections that are
 * being closed.
 */
const RESERVE = 128;
const FEWEST_CONNECTIONS = 8;

/**
 * The number of connections, up to `maxConnections`, that the process has file descriptors for.
 * Beyond that limit no connection can be accepted, and Deno's listeners do not recover.
 *
 * The limit cannot be queried, so this opens that many descriptors and closes them again (a few
 * ms); `open` opens one. Without permission to open files, the result is `maxConnections`.
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
