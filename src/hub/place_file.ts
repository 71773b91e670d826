import { makeWhole, parentOf, removeIfThere, statIfThere } from "./files.ts";
import { RepoCache } from "./repo_cache.ts";

/** How a file of a snapshot is made from a blob. */
export interface PlaceOptions {
  readonly usesSymlinks: boolean;
  /** The blob was just fetched, so that no other snapshot has a link to it. */
  readonly isNew: boolean;
}

/**
 * Puts a blob into a snapshot under a file's name: as a relative link, or where links are refused,
 * by the platform, by Deno's narrower permissions or by `HF_HUB_DISABLE_SYMLINKS`, as the file
 * itself. A new blob is moved then, and one that others may link to is copied, as the Python client
 * does.
 */
export function placeFile(
  cache: RepoCache,
  { commit, path, etag }: { readonly commit: string; readonly path: string; readonly etag: string },
  { usesSymlinks, isNew }: PlaceOptions,
): void {
  const target = cache.filePath(commit, path);
  const blob = cache.blobPath(etag);
  if (statIfThere(target) !== undefined) return;
  Deno.mkdirSync(parentOf(target), { recursive: true });
  // A link whose blob is gone.
  removeIfThere(target);
  if (usesSymlinks && trySymlink(`${upFrom(path)}blobs/${etag}`, target)) return;
  if (isNew) return Deno.renameSync(blob, target);
  makeWhole(target, (temporary) => Deno.copyFileSync(blob, temporary));
}

/** The way from a file of a snapshot up to the repository's folder. */
function upFrom(path: string): string {
  return "../".repeat(path.split("/").length + 1);
}

function trySymlink(target: string, path: string): boolean {
  try {
    Deno.symlinkSync(target, path, { type: "file" });
    return true;
  } catch (error) {
    return error instanceof Deno.errors.AlreadyExists;
  }
}
