import { nearestName } from "../base/edit_distance.ts";
import { isLocked } from "./blob_lock.ts";
import { HubError } from "./hub_errors.ts";
import { repoBytes } from "./list_models.ts";
import { formatModelReference, type ModelReference } from "./model_reference.ts";
import { requireCacheAccess, requireCacheReadable } from "./permissions.ts";
import { filesBelow, statIfThere } from "./files.ts";
import { cachedRepos, RepoCache } from "./repo_cache.ts";

/** What was removed. */
export interface Removed {
  /** Commits whose snapshots are gone. */
  readonly commits: readonly string[];
  /** Bytes that are free now. */
  readonly numBytes: number;
}

/**
 * Removes a model from the cache: one revision, or without one all of them with everything that
 * belongs to the repository. A blob stays while another snapshot has a link to it. Contents that
 * the Python client shares among repositories (`blobs/` beside them) stay, too: only the links to
 * them go.
 *
 * @throws {HubError} where the cache has no such model, with the nearest name, and while a process
 * downloads it.
 */
export function removeModel(cacheDir: string, reference: ModelReference): Removed {
  requireCacheReadable(cacheDir);
  const cache = new RepoCache(cacheDir, reference.repo);
  if (statIfThere(cache.folder) === undefined) throw notThere(cacheDir, reference);
  requireCacheAccess(cacheDir);
  refuseWhileBusy(cache);
  const before = repoBytes(cache);
  const commits = reference.revision === undefined
    ? cache.commits()
    : [commitToRemove(cache, reference)];
  const isWhole = cache.commits().every((commit) => commits.includes(commit));
  if (isWhole) removeRepo(cache);
  else for (const commit of commits) removeSnapshot(cache, commit);
  return { commits, numBytes: before - (isWhole ? 0 : repoBytes(cache)) };
}

function commitToRemove(cache: RepoCache, reference: ModelReference): string {
  const commit = cache.commitOf(reference.revision!);
  if (commit !== undefined && cache.commits().includes(commit)) return commit;
  const known = cache.commits().map((commit) => commit.slice(0, 12));
  throw new HubError(
    "no-revision",
    `${formatModelReference(reference)} is not in the cache ${cache.cacheDir}: of ` +
      `${reference.repo} there ${known.length === 1 ? "is" : "are"} ${known.join(", ") || "none"}`,
  );
}

function notThere(cacheDir: string, { repo }: ModelReference): HubError {
  const nearest = nearestName(repo, cachedRepos(cacheDir));
  return new HubError(
    "no-repo",
    `${repo} is not in the cache ${cacheDir}` +
      (nearest === undefined ? ": quire models lists what is" : `: did you mean ${nearest}?`),
  );
}

/** A download would fail, or leave files behind. */
function refuseWhileBusy(cache: RepoCache): void {
  for (const name of filesBelow(cache.locksFolder)) {
    if (!isLocked(`${cache.locksFolder}/${name}`)) continue;
    throw new HubError(
      "busy",
      `A process downloads ${cache.repo} right now: stop it, or remove the model when it is done`,
    );
  }
}

function removeRepo(cache: RepoCache): void {
  Deno.removeSync(cache.folder, { recursive: true });
  if (statIfThere(cache.locksFolder) !== undefined) {
    Deno.removeSync(cache.locksFolder, { recursive: true });
  }
}

function removeSnapshot(cache: RepoCache, commit: string): void {
  for (const { name, commit: named } of cache.refs()) {
    if (named === commit) Deno.removeSync(cache.refPath(name));
  }
  const blobs = blobsOf(cache, commit);
  Deno.removeSync(cache.snapshotDir(commit), { recursive: true });
  const others = new Set(cache.commits().flatMap((other) => blobsOf(cache, other)));
  for (const blob of blobs) {
    const path = `${cache.folder}/blobs/${blob}`;
    if (!others.has(blob) && statIfThere(path) !== undefined) Deno.removeSync(path);
  }
  for (const extra of [cache.treePath(commit), `${cache.folder}/.no_exist/${commit}`]) {
    if (statIfThere(extra) !== undefined) Deno.removeSync(extra, { recursive: true });
  }
}

/** Names of the blobs that a snapshot has links to. */
function blobsOf(cache: RepoCache, commit: string): string[] {
  const dir = cache.snapshotDir(commit);
  return filesBelow(dir).flatMap((path) => {
    if (!Deno.lstatSync(`${dir}/${path}`).isSymlink) return [];
    const [, blob] = /[\\/]blobs[\\/]([^\\/]+)$/.exec(Deno.readLinkSync(`${dir}/${path}`)) ?? [];
    return blob === undefined ? [] : [blob];
  });
}
