import { type Pause, pauseFor } from "./backoff.ts";
import { parentOf } from "./files.ts";

/** How often a lock that another process holds is tried again, ms. */
const POLL_MS = 100;

/** What whoever waits for a lock may do. */
export interface LockOptions {
  readonly signal?: AbortSignal | undefined;
  /** Another process holds the lock; called once. */
  readonly onWait?: () => void;
  readonly pause?: Pause;
}

/**
 * Runs `work` while this process holds the lock file at `path`. The lock is flock's, as the Python
 * client's: it ends with the process that holds it, however that ends, so that none is ever stale.
 * Where the file system has no locks, `work` runs without; a download is right even then, since
 * everyone writes the same bytes at the same places (`download_blob.ts`).
 */
export async function withLock<T>(
  path: string,
  work: () => Promise<T>,
  { signal, onWait, pause = pauseFor }: LockOptions = {},
): Promise<T> {
  Deno.mkdirSync(parentOf(path), { recursive: true });
  using file = Deno.openSync(path, { read: true, write: true, create: true, mode: 0o664 });
  for (let i = 0; !tryLock(file); i++) {
    if (i === 0) onWait?.();
    await pause(POLL_MS, signal);
  }
  return await work();
}

/** Whether some process holds the lock file at `path`. */
export function isLocked(path: string): boolean {
  using file = Deno.openSync(path, { read: true, write: true });
  return !tryLock(file);
}

function tryLock(file: Deno.FsFile): boolean {
  try {
    return file.tryLockSync(true);
  } catch {
    // This file system has no locks.
    return true;
  }
}
