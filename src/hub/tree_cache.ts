import { z } from "zod";
import { omitUndefined } from "../base/omit_undefined.ts";
import type { HubClient, RepoFile } from "./hub_client.ts";
import { readTextIfThere, writeWhole } from "./files.ts";
import type { RepoCache } from "./repo_cache.ts";

/** The listing of a commit as the Python client keeps it in `trees/COMMIT.json`. */
const TreeFile = z.object({
  format_version: z.literal(1),
  files: z.record(
    z.string(),
    z.looseObject({
      size: z.int().min(0),
      blob_id: z.string(),
      lfs_sha256: z.string().optional(),
      lfs_size: z.int().min(0).optional(),
    }),
  ),
});

/** The files of a commit: from the cache, since a commit does not change, or else from the hub. */
export async function listFiles(
  client: HubClient,
  cache: RepoCache,
  commit: string,
): Promise<RepoFile[]> {
  const known = cachedTree(cache, commit);
  if (known !== undefined) return known;
  const files = await client.files(cache.repo, commit);
  writeTree(cache, commit, files);
  return files;
}

/** The files of a commit as the cache lists them; undefined where it does not. */
export function cachedTree(cache: RepoCache, commit: string): RepoFile[] | undefined {
  let json: unknown;
  try {
    json = JSON.parse(readTextIfThere(cache.treePath(commit)) ?? "null");
  } catch {
    return undefined;
  }
  // Another version, or a damaged file: the hub knows.
  const { data } = TreeFile.safeParse(json);
  if (data === undefined) return undefined;
  return Object.entries(data.files).map(([path, { size, blob_id, lfs_sha256, lfs_size }]) => ({
    path,
    size: lfs_size ?? size,
    blobId: blob_id,
    ...omitUndefined({ sha256: lfs_sha256 }),
  }));
}

function writeTree(cache: RepoCache, commit: string, files: readonly RepoFile[]): void {
  const entries = files.map(({ path, size, blobId, sha256 }) => [path, {
    size,
    blob_id: blobId,
    ...(sha256 === undefined ? {} : { lfs_sha256: sha256, lfs_size: size }),
  }]);
  const json = { format_version: 1, files: Object.fromEntries(entries) };
  writeWhole(cache.treePath(commit), JSON.stringify(json, undefined, 1));
}
