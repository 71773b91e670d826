import { formatByteSize } from "../base/byte_size.ts";
import { cachedSnapshot, findCached } from "./cached_model.ts";
import { checkDiskSpace, type FreeBytes } from "./disk_space.ts";
import { INCOMPLETE } from "./download_blob.ts";
import type { DownloadProgress } from "./download_progress.ts";
import { explainFailure } from "./explain_failure.ts";
import { FileFetcher, isFileThere } from "./fetch_file.ts";
import type { HubClient, RepoFile } from "./hub_client.ts";
import { HubError } from "./hub_errors.ts";
import { DEFAULT_REVISION, formatModelReference, type ModelReference } from "./model_reference.ts";
import { forEachParallel } from "./parallel.ts";
import { requireCacheAccess } from "./permissions.ts";
import { readTextIfThere, statIfThere, writeWhole } from "./files.ts";
import { RepoCache } from "./repo_cache.ts";
import { CONFIG_FILE, selectFiles, type Selection, shardsOf } from "./select_files.ts";
import { listFiles } from "./tree_cache.ts";

/** What a pull tells, asks and counts. */
export interface PullOptions {
  /** Counts the bytes that are fetched. */
  readonly progress?: DownloadProgress;
  /** A sentence for the user, such as that another process downloads the same. */
  readonly note?: (line: string) => void;
  /**
   * Is shown the text of config.json and how much is missing, before any weights are fetched, and
   * throws where they are not wanted.
   */
  readonly beforeWeights?: (seen: BeforeWeights) => Promise<void>;
  readonly freeBytes?: FreeBytes;
}

/** What is known before weights are fetched. */
export interface BeforeWeights {
  /** Absent where the reference names GGUF files. */
  readonly config: string | undefined;
  /** Bytes that are still to be fetched. */
  readonly numBytes: number;
}

/** A model that is whole in the cache. */
export interface PulledModel {
  readonly dir: string;
  readonly commit: string;
  /** Bytes that this pull has fetched. */
  readonly numFetched: number;
}

/** Files that are fetched at once. */
const MAX_PARALLEL = 4;
/** Largest file beside the weights; the largest tokenizers have 35 MiB. */
const MAX_SMALL_BYTES = 128 * 2 ** 20;

/**
 * Brings a model into the cache: what is there is used, what is missing fetched, checked and put
 * into the snapshot. The branch's note in `refs` is written last, so that what it names is whole.
 *
 * @throws {HubError} with what to do; see {@link explainFailure}.
 */
export async function pullModel(
  client: HubClient,
  reference: ModelReference,
  options: PullOptions = {},
): Promise<PulledModel> {
  const { cacheDir, isOffline } = client.settings;
  requireCacheAccess(cacheDir);
  if (isOffline) return offlineModel(cacheDir, reference);
  try {
    return await new Pull(client, reference, options).run();
  } catch (error) {
    throw await explainFailure(error, client, reference);
  }
}

/**
 * Brings one small file of a model into the cache; undefined where the revision has none. The
 * absence is noted, as the Python client does.
 *
 * @returns the snapshot's folder.
 */
export async function pullFile(
  client: HubClient,
  reference: ModelReference,
  path: string,
): Promise<string | undefined> {
  const { cacheDir, isOffline } = client.settings;
  const { repo, revision = DEFAULT_REVISION } = reference;
  const cache = new RepoCache(cacheDir, repo);
  const known = cache.commitOf(revision);
  if (known !== undefined) {
    if (isFileThere(cache, known, path)) return cache.snapshotDir(known);
    if (statIfThere(cache.noExistPath(known, path))?.isFile) return undefined;
  }
  requireCacheAccess(cacheDir);
  if (isOffline) throw offlineError(cacheDir, reference);
  try {
    const metadata = await client.metadata(repo, revision, path);
    if (metadata === undefined) {
      const { commit } = await client.revision(repo, revision);
      writeWhole(cache.noExistPath(commit, path), "");
      return undefined;
    }
    const { commit, size } = metadata;
    const [file] = size === undefined
      ? filesNamed(await listFiles(client, cache, commit), [path], reference)
      : [{ path, size }];
    refuseLarge([file!], reference);
    await new FileFetcher(client, cache).fetch(file!, metadata);
    cache.writeRef(revision, commit);
    return cache.snapshotDir(commit);
  } catch (error) {
    throw await explainFailure(error, client, reference);
  }
}

/** One pull while it runs. */
class Pull {
  readonly #client: HubClient;
  readonly #reference: ModelReference;
  readonly #options: PullOptions;
  readonly #cache: RepoCache;
  readonly #fetcher: FileFetcher;

  constructor(client: HubClient, reference: ModelReference, options: PullOptions) {
    this.#client = client;
    this.#reference = reference;
    this.#options = options;
    this.#cache = new RepoCache(client.settings.cacheDir, reference.repo);
    this.#fetcher = new FileFetcher(client, this.#cache, options);
  }

  async run(): Promise<PulledModel> {
    const { revision = DEFAULT_REVISION, repo } = this.#reference;
    const { commit, paths } = await this.#client.revision(repo, revision);
    if (!this.#isWhole(commit, paths)) await this.#fetchMissing(commit);
    this.#cache.writeRef(revision, commit);
    return { dir: this.#cache.snapshotDir(commit), commit, numFetched: this.#fetcher.numFetched };
  }

  /** Whether everything that the hub lists and the reference needs lies in the snapshot. */
  #isWhole(commit: string, paths: readonly string[]): boolean {
    // The hub lists at most so many files here; then the whole listing says.
    const found = cachedSnapshot(this.#cache, commit, this.#reference);
    if (found === undefined || found.missing.length > 0 || paths.length === 0) return false;
    const { small, weights } = selectFiles(paths, this.#reference);
    return [...small, ...weights].every((path) => isFileThere(this.#cache, commit, path));
  }

  async #fetchMissing(commit: string): Promise<void> {
    const files = await listFiles(this.#client, this.#cache, commit);
    const selection = selectFiles(files.map(({ path }) => path), this.#reference);
    const small = filesNamed(files, selection.small, this.#reference);
    refuseLarge(small, this.#reference);
    await this.#fetchAll(commit, small);
    const weights = filesNamed(files, this.#weightsOf(commit, selection), this.#reference)
      .filter(({ path }) => !isFileThere(this.#cache, commit, path));
    const numBytes = weights.reduce((sum, file) => sum + this.#numMissing(file), 0);
    const config = small.some(({ path }) => path === CONFIG_FILE)
      ? readTextIfThere(this.#cache.filePath(commit, CONFIG_FILE))
      : undefined;
    await this.#options.beforeWeights?.({ config, numBytes });
    checkDiskSpace(numBytes, this.#client.settings.cacheDir, this.#options.freeBytes);
    await this.#fetchAll(commit, weights);
  }

  /** Names of the weights, by the index where there is one. */
  #weightsOf(commit: string, { weights, index }: Selection): readonly string[] {
    if (index === undefined) return weights;
    return shardsOf(readTextIfThere(this.#cache.filePath(commit, index)) ?? "", this.#reference);
  }

  /** Bytes of a file that are neither whole in the cache nor left from an earlier try. */
  #numMissing({ size, sha256, blobId }: RepoFile): number {
    const blob = this.#cache.blobPath(sha256 ?? blobId);
    if (statIfThere(blob) !== undefined) return 0;
    return Math.max(0, size - (statIfThere(blob + INCOMPLETE)?.size ?? 0));
  }

  async #fetchAll(commit: string, files: readonly RepoFile[]): Promise<void> {
    const missing = files.filter(({ path }) => !isFileThere(this.#cache, commit, path));
    for (const { path, size } of missing) this.#options.progress?.expect(path, size);
    await forEachParallel(missing, MAX_PARALLEL, async (file) => {
      const { repo } = this.#reference;
      const metadata = await this.#client.metadata(repo, commit, file.path);
      if (metadata === undefined) throw missingFile(repo, file.path);
      // A mirror may name the branch's commit here, while this one was asked for.
      await this.#fetcher.fetch(file, { ...metadata, commit });
    });
  }
}

function filesNamed(
  files: readonly RepoFile[],
  names: readonly string[],
  { repo }: ModelReference,
): RepoFile[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  return names.map((name) => {
    const file = byPath.get(name);
    if (file === undefined) throw missingFile(repo, name);
    return file;
  });
}

/** What is fetched before anyone is asked, and read as a whole, is small. */
function refuseLarge(
  files: readonly Pick<RepoFile, "path" | "size">[],
  { repo }: ModelReference,
): void {
  const large = files.find(({ size }) => size > MAX_SMALL_BYTES);
  if (large === undefined) return;
  throw new HubError(
    "server",
    `${repo}: ${large.path} has ${formatByteSize(large.size)}, over the limit of ` +
      `${formatByteSize(MAX_SMALL_BYTES)} for files beside the weights`,
  );
}

function missingFile(repo: string, path: string): HubError {
  return new HubError("no-file", `${repo} needs the file ${path}, which the hub does not have`);
}

function offlineModel(cacheDir: string, reference: ModelReference): PulledModel {
  const found = findCached(cacheDir, reference);
  if (found === undefined || found.missing.length > 0) throw offlineError(cacheDir, reference);
  return { dir: found.dir, commit: found.commit, numFetched: 0 };
}

function offlineError(cacheDir: string, reference: ModelReference): HubError {
  return new HubError(
    "offline",
    `${
      formatModelReference(reference)
    } is not whole in ${cacheDir}, and HF_HUB_OFFLINE forbids to ` +
      "fetch it: unset it, or point HF_HOME to a cache that has the model",
  );
}
