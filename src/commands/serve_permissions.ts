import type { Config } from "../core/config.ts";
import { listenHost, type Needs, requirePermissions } from "./permissions.ts";

/**
 * What every command that runs a model needs: Quire's own folder, with the modules of its threads
 * and the bundled model.
 */
export function engineNeeds(): Needs {
  const root = decodeURIComponent(new URL("../../", import.meta.url).pathname).replace(/\/$/, "");
  return { read: [Deno.build.os === "windows" ? root.replace(/^\//, "") : root] };
}

/**
 * Makes sure that `quire serve` may listen and read its own folder. Models are asked about where
 * they are looked for.
 *
 * @throws {StartupError} with the flags that are missing.
 */
export function requireServePermissions({ host, port }: Config): void {
  requirePermissions({ net: [listenHost({ host, port })], ...engineNeeds() });
}
