import { omitUndefined } from "../base/omit_undefined.ts";
import { beginHash, type ContentHash, type Digest } from "./content_hash.ts";
import { HubError, NetworkError, ProtocolError } from "./hub_errors.ts";
import type { HubHttp, HubResponse } from "./hub_http.ts";
import { parentOf, statIfThere } from "./files.ts";

/** A file to fetch, and what it must be. */
export interface BlobTask {
  /** What errors call it, such as `org/name: model.safetensors`. */
  readonly name: string;
  readonly url: URL;
  /** Where it lies when it is whole; until then `.incomplete` is added. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Absent: the size alone is checked. */
  readonly digest?: Digest | undefined;
}

/** How it is fetched. */
export interface BlobOptions {
  readonly http: HubHttp;
  /** How long the server may send nothing, ms. */
  readonly timeoutMs: number;
  /** Bytes that are there: `isNew` for those that were fetched by now. */
  readonly onBytes?: (count: number, isNew: boolean) => void;
}

const READ_BYTES = 2 ** 20;

/** What ends the name of a blob that is not whole. */
export const INCOMPLETE = ".incomplete";

/**
 * Fetches a file to its place in the cache. What an earlier try left at `.incomplete` is kept and
 * hashed, and the rest asked for with `Range`; a connection that is cut continues the same way. The
 * file gets its name only when size and digest are right.
 *
 * Bytes are written at their offsets, never appended: two processes whose locks do not hold write
 * the same bytes to the same places, and the first to finish gives the file its name.
 *
 * @throws {HubError} of kind `hash`; the file is deleted then.
 * @throws {HttpFailure | StallError | NetworkError} after repeated tries without progress.
 */
export async function downloadBlob(task: BlobTask, options: BlobOptions): Promise<void> {
  Deno.mkdirSync(parentOf(task.path), { recursive: true });
  const incomplete = task.path + INCOMPLETE;
  const wasThere = (statIfThere(incomplete)?.size ?? 0) > 0;
  if (await fetchWhole(task, options)) return;
  // What another program left may be of another content: once more, from its beginning.
  if (wasThere && await fetchWhole(task, options)) return;
  throw new HubError(
    "hash",
    `${task.name} arrived with another ${task.digest!.kind} than the hub promises ` +
      `(${task.digest!.hex.slice(0, 12)}...): it was deleted; run the same again, and tell the ` +
      "repository's owner or the mirror if it happens again",
  );
}

/** Fetches what is missing; false, with the file deleted, where the content is another one. */
async function fetchWhole(task: BlobTask, options: BlobOptions): Promise<boolean> {
  const incomplete = task.path + INCOMPLETE;
  const download = new BlobDownload(task, options);
  try {
    await download.run();
  } finally {
    download.close();
  }
  if (!download.isRight()) {
    Deno.removeSync(incomplete);
    return false;
  }
  try {
    Deno.renameSync(incomplete, task.path);
  } catch (error) {
    // Another process without locks was first.
    if (statIfThere(task.path)?.size !== task.size) throw error;
  }
  return true;
}

/** One file while it is fetched. */
class BlobDownload {
  readonly #task: BlobTask;
  readonly #options: BlobOptions;
  readonly #file: Deno.FsFile;
  readonly #hash: ContentHash;
  /** Bytes that are in the file and in the hash. */
  #offset = 0;

  constructor(task: BlobTask, options: BlobOptions) {
    this.#task = task;
    this.#options = options;
    this.#hash = beginHash(task.digest?.kind ?? "sha256", task.size);
    const access = { read: true, write: true, create: true };
    this.#file = Deno.openSync(task.path + INCOMPLETE, access);
  }

  close(): void {
    this.#file.close();
  }

  /** Whether the whole content has its digest; asked once. */
  isRight(): boolean {
    const { digest } = this.#task;
    return digest === undefined || this.#hash.hex() === digest.hex;
  }

  async run(): Promise<void> {
    const { size } = this.#task;
    if (this.#file.statSync().size > size) this.#file.truncateSync(0);
    await this.#hashEarlier();
    const backoff = this.#options.http.backoff();
    while (this.#offset < size) {
      const before = this.#offset;
      try {
        await this.#fetchRest();
        if (this.#offset < size) throw new NetworkError("the body ended early");
      } catch (error) {
        if (this.#offset > before) backoff.progress();
        await this.#options.http.afterFailure(error, backoff);
      }
    }
  }

  /** Takes in what an earlier try has left. */
  async #hashEarlier(): Promise<void> {
    const buffer = new Uint8Array(READ_BYTES);
    for (let count; (count = await this.#file.read(buffer)) !== null;) {
      this.#hash.update(buffer.subarray(0, count));
      this.#offset += count;
    }
    if (this.#offset > 0) this.#options.onBytes?.(this.#offset, false);
  }

  /** One request for what is missing, until it ends. */
  async #fetchRest(): Promise<void> {
    const { http, timeoutMs } = this.#options;
    // A write that failed half-way has moved on.
    await this.#file.seek(this.#offset, Deno.SeekMode.Start);
    const range = this.#offset > 0 ? { range: `bytes=${this.#offset}-` } : undefined;
    const response = await http.sendOnce({
      url: this.#task.url,
      timeoutMs,
      follow: "all",
      ...omitUndefined({ headers: range }),
    });
    let numToSkip = this.#offset - this.#beginningOf(response);
    for await (const chunk of response.chunks()) {
      const fresh = chunk.subarray(Math.min(numToSkip, chunk.length));
      numToSkip -= chunk.length - fresh.length;
      await this.#take(fresh);
    }
  }

  /** The offset at which an answer's body begins: one that ignores `Range` begins at 0. */
  #beginningOf({ status, headers }: HubResponse): number {
    if (status !== 206) return 0;
    const [, first] = /^bytes (\d+)-/.exec(headers.get("content-range") ?? "") ?? [];
    if (Number(first) === this.#offset) return this.#offset;
    throw new ProtocolError(
      `${this.#task.name}: asked for bytes from ${this.#offset}, got ${first ?? "no range"}`,
    );
  }

  async #take(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return;
    if (this.#offset + bytes.length > this.#task.size) {
      throw new ProtocolError(`${this.#task.name} is longer than ${this.#task.size} bytes`);
    }
    for (let begin = 0; begin < bytes.length;) begin += await this.#write(bytes.subarray(begin));
    this.#hash.update(bytes);
    this.#offset += bytes.length;
    this.#options.onBytes?.(bytes.length, true);
  }

  async #write(bytes: Uint8Array): Promise<number> {
    try {
      return await this.#file.write(bytes);
    } catch (error) {
      throw new HubError(
        "disk",
        `Cannot write ${this.#task.path}${INCOMPLETE} (${(error as Error).message}): free some ` +
          "space, or set HF_HOME to a larger disk; the same command continues where it stopped",
      );
    }
  }
}
