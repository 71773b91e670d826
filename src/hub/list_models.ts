import { type CachedModel, cachedSnapshot } from "./cached_model.ts";
import { filesBelow, readTextIfThere, statIfThere } from "./files.ts";
import { cachedRepos, RepoCache } from "./repo_cache.ts";
import { CONFIG_FILE, quantsOf } from "./select_files.ts";

/** One revision of a model in the cache. */
export interface ListedModel {
  readonly repo: string;
  readonly commit: string;
  /** Branches and tags that mean this commit. */
  readonly refs: readonly string[];
  /** Bytes of the files in the snapshot, each blob once. */
  readonly numBytes: number;
  /** The parsed config.json; undefined where there is none, or it is no JSON. */
  readonly config: unknown;
  /** Names of the quantizations of its GGUF files. */
  readonly quants: readonly string[];
  /** What the plain name needs and the snapshot lacks; empty for a whole model. */
  readonly missing: readonly string[];
  /** The newest file's time, ms since 1970. */
  readonly modifiedMs: number;
}

/** What a cache holds. */
export interface CacheContents {
  readonly models: readonly ListedModel[];
  /** Bytes of all models' blobs and files, partial ones included, each once. */
  readonly numBytes: number;
}

/** Lists the models of a cache, by name and then by age. Reads names, sizes and config.json. */
export function listModels(cacheDir: string): CacheContents {
  const caches = cachedRepos(cacheDir).map((repo) => new RepoCache(cacheDir, repo));
  const models = caches.flatMap((cache) => {
    const refs = cache.refs();
    const listed = cache.commits().map((commit) => listSnapshot(cache, commit, refs));
    return listed.sort((a, b) => b.modifiedMs - a.modifiedMs);
  });
  return { models, numBytes: caches.reduce((sum, cache) => sum + repoBytes(cache), 0) };
}

function listSnapshot(
  cache: RepoCache,
  commit: string,
  refs: readonly { readonly name: string; readonly commit: string }[],
): ListedModel {
  const dir = cache.snapshotDir(commit);
  const paths = filesBelow(dir);
  const files = new Map<string, Deno.FileInfo>();
  for (const path of paths) {
    const info = statIfThere(`${dir}/${path}`);
    if (info?.isFile === true) files.set(Deno.realPathSync(`${dir}/${path}`), info);
  }
  const infos = [...files.values()];
  return {
    repo: cache.repo,
    commit,
    refs: refs.filter((ref) => ref.commit === commit).map(({ name }) => name),
    numBytes: infos.reduce((sum, { size }) => sum + size, 0),
    config: parseConfig(readTextIfThere(`${dir}/${CONFIG_FILE}`)),
    quants: quantsOf(paths),
    missing: missingOf(cache, commit),
    modifiedMs: Math.max(0, ...infos.map(({ mtime }) => mtime?.getTime() ?? 0)),
  };
}

function missingOf(cache: RepoCache, commit: string): readonly string[] {
  try {
    const found: CachedModel | undefined = cachedSnapshot(cache, commit, { repo: cache.repo });
    return found?.missing ?? [];
  } catch {
    return ["a sound index of its weights"];
  }
}

function parseConfig(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Bytes that the files of a repository take, links not counted. */
export function repoBytes(cache: RepoCache): number {
  return [cache.folder, cache.locksFolder].reduce((sum, dir) => sum + bytesBelow(dir), 0);
}

function bytesBelow(dir: string): number {
  return filesBelow(dir).reduce((sum, path) => sum + ownBytes(`${dir}/${path}`), 0);
}

/** Bytes of a file; of a link none. */
function ownBytes(path: string): number {
  const { isFile, size } = Deno.lstatSync(path);
  return isFile ? size : 0;
}
