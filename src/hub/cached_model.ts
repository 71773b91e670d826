import { HubError } from "./hub_errors.ts";
import { DEFAULT_REVISION, type ModelReference } from "./model_reference.ts";
import { filesBelow, readTextIfThere, statIfThere } from "./files.ts";
import { RepoCache } from "./repo_cache.ts";
import {
  CONFIG_FILE,
  isGgufName,
  selectFiles,
  type Selection,
  shardsOf,
  TOKENIZER_FILE,
} from "./select_files.ts";

/** A model's files in the cache. */
export interface CachedModel {
  /** The snapshot's folder. */
  readonly dir: string;
  readonly commit: string;
  /** The GGUF file, or the first of its parts, where the reference names one. */
  readonly ggufFile?: string;
  /** What the model needs and the snapshot lacks; empty for a whole one. */
  readonly missing: readonly string[];
}

/**
 * Looks for a model in the cache, without a request.
 *
 * @returns undefined where the revision has no snapshot.
 */
export function findCached(
  cacheDir: string,
  reference: ModelReference,
): CachedModel | undefined {
  const cache = new RepoCache(cacheDir, reference.repo);
  const commit = cache.commitOf(reference.revision ?? DEFAULT_REVISION);
  if (commit === undefined) return undefined;
  return cachedSnapshot(cache, commit, reference);
}

/** The same for one commit. */
export function cachedSnapshot(
  cache: RepoCache,
  commit: string,
  reference: ModelReference,
): CachedModel | undefined {
  const dir = cache.snapshotDir(commit);
  if (statIfThere(dir)?.isDirectory !== true) return undefined;
  const paths = filesBelow(dir).filter((path) => statIfThere(`${dir}/${path}`)?.isFile === true);
  const selection = selectionOf(paths, reference);
  if (selection === undefined) return { dir, commit, missing: ["its weights"] };
  const weights = selection.index === undefined
    ? selection.weights
    : shardsOf(readTextIfThere(`${dir}/${selection.index}`)!, reference);
  const isGguf = isGgufName(weights[0] ?? "");
  const needed = isGguf ? weights : [CONFIG_FILE, TOKENIZER_FILE, ...weights];
  return {
    dir,
    commit,
    ...(isGguf ? { ggufFile: weights[0]! } : {}),
    missing: needed.filter((path) => !paths.includes(path)),
  };
}

/** Paths that are needed of those that a snapshot has; undefined where weights are missing. */
function selectionOf(paths: readonly string[], reference: ModelReference): Selection | undefined {
  try {
    return selectFiles(paths, reference);
  } catch (error) {
    if (error instanceof HubError && error.kind === "no-file") return undefined;
    throw error;
  }
}
