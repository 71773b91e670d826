import { currentStateDirectory } from "../state/state_directory.ts";

/**
 * The path of a store whose flag has the value `flag`; undefined for no store: where the flag is
 * `none`, or there is no flag and the environment names no home directory.
 */
export function storePath(flag: string | undefined, fileName: string): string | undefined {
  if (flag === "none") return undefined;
  if (flag !== undefined) return flag;
  const dir = currentStateDirectory();
  return dir === undefined ? undefined : `${dir}/${fileName}`;
}
