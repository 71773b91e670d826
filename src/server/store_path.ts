import { currentStateDirectory } from "../state/state_directory.ts";

/**
 * Where a store lies whose flag was given as `flag`; undefined for nowhere, which the flag says
 * with `none` and an environment that names no home without a flag.
 */
export function storePath(flag: string | undefined, fileName: string): string | undefined {
  if (flag === "none") return undefined;
  if (flag !== undefined) return flag;
  const dir = currentStateDirectory();
  return dir === undefined ? undefined : `${dir}/${fileName}`;
}
