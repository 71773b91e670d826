import { StoreUnusableError, UnfitStoreError } from "./store_errors.ts";
import { StoreFile, type StorePlace } from "./store_file.ts";

/** Is told of a file that was moved away: why, and where it lies. */
export type SetAsideListener = (
  kind: UnfitStoreError["kind"],
  movedTo: string,
  reason: string,
) => void;

/** A Deno KV file of ours, open for this process alone, and what was read from it. */
export class KvFile<T> {
  readonly #file: StoreFile;
  readonly kv: Deno.Kv;
  /** What was in it when it was opened. */
  readonly contents: T;

  private constructor(file: StoreFile, kv: Deno.Kv, contents: T) {
    this.#file = file;
    this.kv = kv;
    this.contents = contents;
  }

  /**
   * Opens the file, or makes one. One that is damaged, or that `read` finds unfit, is set aside and an
   * empty one read in its place.
   *
   * @param read takes in the contents; throws `UnfitStoreError` for those of another program or model.
   * @throws {StoreUnusableError} when there can be no store at this place.
   */
  static async open<T>(
    place: StorePlace,
    read: (kv: Deno.Kv) => Promise<T>,
    onSetAside: SetAsideListener,
  ): Promise<KvFile<T>> {
    // A function behind an unstable flag, which deno.json sets.
    if (typeof Deno.openKv !== "function") {
      throw new StoreUnusableError("Deno KV is switched off: start with --unstable-kv");
    }
    const file = StoreFile.claim(place);
    try {
      return await KvFile.#read(file, read).catch(async (error) => {
        if (!(error instanceof UnfitStoreError)) throw error;
        const movedTo = await file.setAside(error.kind);
        onSetAside(error.kind, movedTo, error.message);
        return await KvFile.#read(file, read);
      });
    } catch (error) {
      file.release();
      throw new StoreUnusableError(`Cannot use ${place.path}: ${(error as Error).message}`);
    }
  }

  /** Closes the file; another process may open it then. */
  close(): void {
    this.kv.close();
    this.#file.release();
  }

  static async #read<T>(
    file: StoreFile,
    read: (kv: Deno.Kv) => Promise<T>,
  ): Promise<KvFile<T>> {
    file.check();
    const kv = await Deno.openKv(file.path);
    try {
      return new KvFile(file, kv, await read(kv));
    } catch (error) {
      kv.close();
      throw error;
    }
  }
}
