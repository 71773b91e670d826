import { StartupError } from "../core/errors.ts";
import { currentStateDirectory } from "../state/state_directory.ts";
import type { StoreKind } from "../state/store_kinds.ts";
import { mayRead } from "./may_read.ts";

/**
 * The path of a store whose flag has the value `flag`; undefined for no store: where the flag is
 * `none`, or there is no flag and the environment names no home directory, or one that this process
 * may not read.
 *
 * @throws {StartupError} for a path that was given and may not be read.
 */
export function storePath(
  flag: string | undefined,
  { fileName, flag: flagName }: Pick<StoreKind, "fileName" | "flag">,
): string | undefined {
  if (flag === "none") return undefined;
  if (flag !== undefined) {
    if (mayRead(flag)) return flag;
    throw new StartupError(
      `Not allowed to read ${flagName} ${flag}: start with --allow-read=${flag} ` +
        `--allow-write=${flag}, or with "deno run -A main.ts"`,
    );
  }
  const dir = currentStateDirectory();
  const path = dir === undefined ? undefined : `${dir}/${fileName}`;
  return path !== undefined && mayRead(path) ? path : undefined;
}
