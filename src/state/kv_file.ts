import { StartupError } from "../core/errors.ts";
import { StoreUnusableError, UnfitStoreError } from "./store_errors.ts";
import { StoreFile } from "./store_file.ts";
import type { StorePlace } from "./store_place.ts";

/** What a kind of store keeps in its file. */
export interface StoreFormat<T> {
  /**
   * Takes in what is in a file; undefined where there is nothing.
   *
   * @throws {UnfitStoreError} for contents of another program or model.
   */
  read(kv: Deno.Kv): Promise<T | undefined>;
  /** What is in a new store. */
  create(): T;
  /** Writes what {@link create} has made to an empty file. */
  initialize(kv: Deno.Kv, contents: T): Promise<void>;
}

/** Is told of a file that cannot be used as it is. */
export interface UnfitListener {
  /** The store starts empty; the file stays where it is until something is written. */
  onUnfit(kind: UnfitStoreError["kind"], reason: string): void;
  /** The first write has moved the file there. */
  onSetAside(movedTo: string): void;
}

/** A Deno KV file of ours, open for this process alone, and what was read from it. */
export class KvFile<T> {
  readonly #file: StoreFile;
  readonly #format: StoreFormat<T>;
  readonly #listener: UnfitListener;
  /** Absent while the file is unfit and nothing has been written. */
  #kv: Deno.Kv | undefined;
  #unfit: UnfitStoreError["kind"] | undefined;
  /** What was in it when it was opened. */
  readonly contents: T;

  private constructor(
    { file, format, listener }: {
      readonly file: StoreFile;
      readonly format: StoreFormat<T>;
      readonly listener: UnfitListener;
    },
    opened: { readonly kv: Deno.Kv; readonly contents: T } | UnfitStoreError,
  ) {
    this.#file = file;
    this.#format = format;
    this.#listener = listener;
    const isUnfit = opened instanceof UnfitStoreError;
    this.#kv = isUnfit ? undefined : opened.kv;
    this.#unfit = isUnfit ? opened.kind : undefined;
    this.contents = isUnfit ? format.create() : opened.contents;
  }

  /**
   * Opens the file, or makes one. The contents of one that is damaged, or that `format` finds
   * unfit, are those of a new store; the first write sets the file aside, so that a start that
   * fails moves nothing.
   *
   * @throws {StartupError} when what lies there is not ours.
   * @throws {StoreUnusableError} when there can be no store at this place.
   */
  static async open<T>(
    place: StorePlace,
    format: StoreFormat<T>,
    listener: UnfitListener,
  ): Promise<KvFile<T>> {
    // A function behind an unstable flag, which deno.json sets.
    if (typeof Deno.openKv !== "function") {
      throw new StoreUnusableError("Deno KV is switched off: start with --unstable-kv");
    }
    const file = StoreFile.claim(place);
    const parts = { file, format, listener };
    try {
      return new KvFile(parts, await openKv(file, format));
    } catch (error) {
      if (error instanceof UnfitStoreError) {
        listener.onUnfit(error.kind, error.message);
        return new KvFile(parts, error);
      }
      file.release();
      if (error instanceof StartupError) throw error;
      throw new StoreUnusableError(`Cannot use ${place.path}: ${(error as Error).message}`);
    }
  }

  /** The file to write to: a new one where it was unfit, which is set aside first. */
  async writable(): Promise<Deno.Kv> {
    if (this.#unfit !== undefined) {
      const movedTo = await this.#file.setAside(this.#unfit);
      this.#unfit = undefined;
      this.#listener.onSetAside(movedTo);
    }
    if (this.#kv === undefined) {
      const format = { ...this.#format, create: () => this.contents };
      this.#kv = (await openKv(this.#file, format)).kv;
    }
    return this.#kv;
  }

  /** Closes the file; another process may open it then. */
  close(): void {
    this.#kv?.close();
    this.#file.release();
  }
}

/** Opens a sound file and reads it; an empty one gets the contents of a new store. */
async function openKv<T>(
  file: StoreFile,
  format: StoreFormat<T>,
): Promise<{ readonly kv: Deno.Kv; readonly contents: T }> {
  file.check();
  const kv = await Deno.openKv(file.path);
  try {
    const known = await format.read(kv);
    if (known !== undefined) return { kv, contents: known };
    const contents = format.create();
    await format.initialize(kv, contents);
    return { kv, contents };
  } catch (error) {
    kv.close();
    throw error;
  }
}
