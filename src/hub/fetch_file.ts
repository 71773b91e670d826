import { withLock } from "./blob_lock.ts";
import { type Digest, digestOfEtag } from "./content_hash.ts";
import { downloadBlob } from "./download_blob.ts";
import type { DownloadProgress } from "./download_progress.ts";
import type { FileMetadata, HubClient, RepoFile } from "./hub_client.ts";
import { HubError } from "./hub_errors.ts";
import { placeFile } from "./place_file.ts";
import { statIfThere } from "./files.ts";
import type { RepoCache } from "./repo_cache.ts";

/** A file of a commit, with the digest of a large one. */
export type WantedFile = Pick<RepoFile, "path" | "size" | "sha256">;

/** Is told how far a file is. */
export interface FetchListener {
  readonly progress?: DownloadProgress;
  readonly note?: (line: string) => void;
}

/** Brings files of one repository into snapshots, and counts what it fetches. */
export class FileFetcher {
  readonly #client: HubClient;
  readonly #cache: RepoCache;
  readonly #listener: FetchListener;
  #numFetched = 0;

  constructor(client: HubClient, cache: RepoCache, listener: FetchListener = {}) {
    this.#client = client;
    this.#cache = cache;
    this.#listener = listener;
  }

  /** Bytes that have been fetched. */
  get numFetched(): number {
    return this.#numFetched;
  }

  /**
   * Brings one file into a snapshot. While another process fetches it, this one waits.
   *
   * @throws {HubError} also where listing and metadata give two sizes.
   */
  async fetch(file: WantedFile, metadata: FileMetadata): Promise<void> {
    const { path, size } = file;
    const { commit, etag } = metadata;
    const { progress, note } = this.#listener;
    if (metadata.size !== undefined && metadata.size !== size) {
      throw new HubError(
        "server",
        `The hub gives two sizes for ${path}: ${size}, ${metadata.size}`,
      );
    }
    const blob = this.#cache.blobPath(etag);
    const { signal } = this.#client.http;
    const onWait = () => note?.(`Another process downloads ${path}: waiting for it`);
    await withLock(this.#cache.lockPath(etag), async () => {
      const isNew = statIfThere(blob) === undefined && !isFileThere(this.#cache, commit, path);
      if (isNew) await this.#download(file, metadata);
      const { usesSymlinks } = this.#client.settings;
      placeFile(this.#cache, { commit, path, etag }, { usesSymlinks, isNew });
    }, { signal, onWait });
    progress?.finish(path);
  }

  async #download(file: WantedFile, { commit, etag }: FileMetadata): Promise<void> {
    const { repo } = this.#cache;
    const { path, size } = file;
    await downloadBlob({
      name: `${repo}: ${path}`,
      url: this.#client.fileUrl(repo, commit, path),
      path: this.#cache.blobPath(etag),
      size,
      digest: digestOf(file, etag),
    }, {
      http: this.#client.http,
      timeoutMs: this.#client.settings.downloadTimeoutMs,
      onBytes: (count, isNew) => {
        if (isNew) this.#numFetched += count;
        this.#listener.progress?.advance(path, count, isNew);
      },
    });
  }
}

/** Whether a commit's file lies in its snapshot. */
export function isFileThere(cache: RepoCache, commit: string, path: string): boolean {
  return statIfThere(cache.filePath(commit, path))?.isFile === true;
}

/** What the content must hash to: as the listing says, or else as the etag is. */
function digestOf({ sha256 }: WantedFile, etag: string): Digest | undefined {
  return sha256 === undefined ? digestOfEtag(etag) : { kind: "sha256", hex: sha256 };
}
