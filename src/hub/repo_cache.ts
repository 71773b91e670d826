import { whyUnsafePath } from "./model_reference.ts";
import { HubError } from "./hub_errors.ts";
import { filesBelow, foldersIn, readTextIfThere, writeWhole } from "./files.ts";

/** A git commit's full name. */
const COMMIT = /^[0-9a-f]{40}$/;
/** Shortest prefix of a commit that names it. */
const MIN_COMMIT_PREFIX = 7;
const ETAG = /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}$/;
/** Stands for the slash of `org/name` in a folder's name. */
const SEPARATOR = "--";
const MODELS = `models${SEPARATOR}`;

/**
 * The places of one repository in the cache, as the Python client lays them out:
 *
 *     models--ORG--NAME/refs/main                 the commit of a branch
 *     models--ORG--NAME/blobs/ETAG                contents, partial ones with `.incomplete`
 *     models--ORG--NAME/snapshots/COMMIT/FILE     a relative link to a blob, or the file itself
 *     models--ORG--NAME/trees/COMMIT.json         the files of a commit
 *     models--ORG--NAME/.no_exist/COMMIT/FILE     an empty file: the commit has no such file
 *     .locks/models--ORG--NAME/ETAG.lock          held (flock) by the one that downloads
 */
export class RepoCache {
  readonly cacheDir: string;
  readonly repo: string;

  constructor(cacheDir: string, repo: string) {
    this.cacheDir = cacheDir;
    this.repo = repo;
  }

  /** Folder of the repository. */
  get folder(): string {
    return `${this.cacheDir}/${this.#folderName}`;
  }

  /** Folder of its locks. */
  get locksFolder(): string {
    return `${this.cacheDir}/.locks/${this.#folderName}`;
  }

  get #folderName(): string {
    return MODELS + this.repo.replaceAll("/", SEPARATOR);
  }

  /** @throws {HubError} for an etag that is no file name. */
  blobPath(etag: string): string {
    if (!ETAG.test(etag)) {
      const shown = JSON.stringify(etag.slice(0, 80));
      throw new HubError("server", `The hub sent the etag ${shown}, which is no file name`);
    }
    return `${this.folder}/blobs/${etag}`;
  }

  lockPath(etag: string): string {
    return `${this.locksFolder}/${etag}.lock`;
  }

  snapshotDir(commit: string): string {
    return `${this.folder}/snapshots/${commit}`;
  }

  /** @throws {HubError} for a path that leads out of the snapshot. */
  filePath(commit: string, path: string): string {
    return `${this.snapshotDir(commit)}/${safePath(path)}`;
  }

  noExistPath(commit: string, path: string): string {
    return `${this.folder}/.no_exist/${commit}/${safePath(path)}`;
  }

  treePath(commit: string): string {
    return `${this.folder}/trees/${commit}.json`;
  }

  refPath(revision: string): string {
    return `${this.folder}/refs/${safePath(revision)}`;
  }

  /** The commit that a branch, a tag, a commit or the beginning of one means in the cache. */
  commitOf(revision: string): string | undefined {
    if (isCommit(revision)) return revision;
    const text = readTextIfThere(this.refPath(revision))?.trim();
    if (text !== undefined && isCommit(text)) return text;
    if (revision.length < MIN_COMMIT_PREFIX || !/^[0-9a-f]+$/.test(revision)) return undefined;
    const matches = this.commits().filter((commit) => commit.startsWith(revision));
    return matches.length === 1 ? matches[0] : undefined;
  }

  /** Commits of which there are files, in the order of their names. */
  commits(): string[] {
    return foldersIn(`${this.folder}/snapshots`).filter(isCommit).sort();
  }

  /** Branches and tags with their commits. */
  refs(): { readonly name: string; readonly commit: string }[] {
    return filesBelow(`${this.folder}/refs`).flatMap((name) => {
      const commit = readTextIfThere(`${this.folder}/refs/${name}`)?.trim() ?? "";
      return isCommit(commit) ? [{ name, commit }] : [];
    });
  }

  /** Writes what a branch or tag means; a commit needs no note. */
  writeRef(revision: string, commit: string): void {
    if (revision === commit || this.commitOf(revision) === commit) return;
    writeWhole(this.refPath(revision), commit);
  }
}

/** Names of the models that a cache has folders of, sorted. */
export function cachedRepos(cacheDir: string): string[] {
  return foldersIn(cacheDir).filter((name) => name.startsWith(MODELS))
    .map((name) => name.slice(MODELS.length).replace(SEPARATOR, "/"))
    .filter((name) => name !== "").sort();
}

/** Whether a text is a commit's full name. */
function isCommit(text: string): boolean {
  return COMMIT.test(text);
}

function safePath(path: string): string {
  const why = whyUnsafePath(path);
  if (why === undefined) return path;
  throw new HubError(
    "server",
    `The hub names a file ${JSON.stringify(path.slice(0, 80))}, which ${why}: it is not fetched`,
  );
}
