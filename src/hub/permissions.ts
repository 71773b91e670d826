import { HubError } from "./hub_errors.ts";

/**
 * Makes sure that the cache can be read and written. Asked beforehand, since Deno would otherwise
 * prompt at the terminal.
 *
 * @throws {HubError} naming the flag that is missing, or the folder that is read-only.
 */
export function requireCacheAccess(cacheDir: string): void {
  requirePath("read", cacheDir);
  requirePath("write", cacheDir);
  try {
    Deno.mkdirSync(cacheDir, { recursive: true });
    // A folder that exists may still be read-only.
    const probe = Deno.makeTempDirSync({ dir: cacheDir, prefix: ".writable-" });
    Deno.removeSync(probe);
  } catch (error) {
    throw new HubError(
      "permission",
      `Cannot write to the cache ${cacheDir} (${(error as Error).message}): set HF_HOME to a ` +
        "folder that can be written",
    );
  }
}

/**
 * Makes sure that the cache can be read; a folder that is not there counts as readable.
 *
 * @throws {HubError} naming the flag that is missing.
 */
export function requireCacheReadable(cacheDir: string): void {
  requirePath("read", cacheDir);
}

/** Whether the cache may be read, without asking. */
export function mayReadCache(cacheDir: string): boolean {
  return Deno.permissions.querySync({ name: "read", path: cacheDir }).state === "granted";
}

function requirePath(name: "read" | "write", path: string): void {
  if (Deno.permissions.querySync({ name, path }).state === "granted") return;
  throw new HubError(
    "permission",
    `Not allowed to ${name} the cache ${path}: start with "deno run -A main.ts", or with ` +
      `--allow-${name}=${path}`,
  );
}
