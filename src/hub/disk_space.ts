import { statfsSync } from "node:fs";
import { formatByteSize } from "../base/byte_size.ts";
import { HubError } from "./hub_errors.ts";
import { parentOf, statIfThere } from "./files.ts";

/** Bytes free at a path, for this user. */
export type FreeBytes = (path: string) => number | undefined;

/** Left free beside a download, so that the system keeps working. */
const RESERVE_BYTES = 64 * 2 ** 20;

/**
 * Free bytes of the file system that `path` lies or will lie on; undefined where the permission
 * (`--allow-sys=statfs`) or the platform does not tell.
 */
export const freeBytesAt: FreeBytes = (path) => {
  let folder = path;
  while (folder !== "" && statIfThere(folder) === undefined) folder = parentOf(folder);
  const permission = { name: "sys", kind: "statfs" } as unknown as Deno.SysPermissionDescriptor;
  if (Deno.permissions.querySync(permission).state !== "granted") return undefined;
  try {
    const { bavail, bsize } = statfsSync(folder === "" ? "/" : folder);
    return Number(bavail) * Number(bsize);
  } catch {
    return undefined;
  }
};

/**
 * Refuses a download that cannot fit, before its first byte.
 *
 * @throws {HubError} of kind `disk`: what is needed, what is free, where.
 */
export function checkDiskSpace(
  numBytes: number,
  cacheDir: string,
  freeBytes: FreeBytes = freeBytesAt,
): void {
  const free = numBytes > 0 ? freeBytes(cacheDir) : undefined;
  if (free === undefined || free >= numBytes + RESERVE_BYTES) return;
  throw new HubError(
    "disk",
    `The download takes ${formatByteSize(numBytes)}, and ${formatByteSize(free)} are free at ` +
      `${cacheDir} (${formatByteSize(RESERVE_BYTES)} of them stay free): make room there, for ` +
      "example with quire rm, or set HF_HOME to a larger disk",
  );
}
