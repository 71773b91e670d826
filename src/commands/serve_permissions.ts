import type { Config } from "../core/config.ts";
import { bundledModel } from "../server/model_directory.ts";
import { listenHost, requirePermissions } from "./permissions.ts";

/**
 * Makes sure that `quire serve` may listen and read the bundled model, where that is the one to
 * serve. Other models are asked about where they are looked for.
 *
 * @throws {StartupError} with the flags that are missing.
 */
export function requireServePermissions({ host, port, model }: Config): void {
  requirePermissions({
    net: [listenHost({ host, port })],
    ...(model === undefined ? { read: [bundledModel().dir] } : {}),
  });
}
