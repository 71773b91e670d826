import { DatabaseSync } from "node:sqlite";
import { StoreUnusableError, UnfitStoreError } from "./store_errors.ts";
import { checkStorePlace, isMarked, markStore, type StorePlace } from "./store_place.ts";

/** Most bytes of a store: a larger file is not ours, and would take long to check. */
const MAX_STORE_BYTES = 2 ** 30;
/** Files set aside that are kept per kind; then the oldest makes room. */
const MAX_NUM_SET_ASIDE = 4;
/** Tables of every Deno KV file. */
const KV_TABLES = ["kv", "migration_state"];
/** SQLite's files beside the main one: its write-ahead log and the index of that. */
const COMPANIONS = ["-wal", "-shm"];

/**
 * The file of a store, claimed for this process alone: two servers that write one file would each
 * take the other's records for its own. The claim ends with the process, however that ends.
 */
export class StoreFile {
  readonly #place: StorePlace;
  readonly #lock: Deno.FsFile;

  private constructor(place: StorePlace, lock: Deno.FsFile) {
    this.#place = place;
    this.#lock = lock;
  }

  /** Where it lies; behind a symbolic link, where that leads. */
  get path(): string {
    return this.#place.path;
  }

  /**
   * Claims a place, creating its folder and an empty file where they are missing, for the owner's
   * eyes alone: what it learned from prompts is no one else's business.
   *
   * @throws {StartupError} when what lies there is not ours; it stays as it is.
   * @throws {StoreUnusableError} when it cannot be written, or another process has it open.
   */
  static claim(asked: StorePlace): StoreFile {
    const { kind, kind: { flag } } = asked;
    const path = checkStorePlace(asked);
    const dir = path.replace(/[\\/]?[^\\/]*$/, "") || (/^[\\/]/.test(path) ? "/" : ".");
    requirePermission(dir, flag);
    let lock: Deno.FsFile | undefined;
    try {
      Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
      if (isReadOnly(path)) throw new Error("the file is read-only");
      lock = openPrivate(`${path}.lock`);
      if (lock.tryLockSync(true)) {
        openPrivate(path).close();
        return new StoreFile({ path, kind }, lock);
      }
    } catch (error) {
      lock?.close();
      throw new StoreUnusableError(`Cannot write ${path}: ${(error as Error).message}`);
    }
    lock.close();
    throw new StoreUnusableError(`Another server uses ${path}: give each its own ${flag}`);
  }

  /**
   * Audits the file as SQLite, and marks it as ours. Deno KV ends the whole process when it finds a
   * page damaged while it runs, so that is found out before.
   *
   * @throws {UnfitStoreError} when it is damaged, or a database of something else.
   */
  check(): void {
    const { size } = Deno.statSync(this.path);
    if (size > 0) this.#audit(size);
    if (!isMarked(this.#place)) markStore(this.#place);
  }

  #audit(size: number): void {
    if (size > MAX_STORE_BYTES) {
      throw new UnfitStoreError("foreign", `it has ${size} bytes, over ${MAX_STORE_BYTES}`);
    }
    const tables = auditTables(this.path);
    if (tables.length > 0 && !KV_TABLES.every((name) => tables.includes(name))) {
      throw new UnfitStoreError("foreign", "it is a database of another program");
    }
  }

  /**
   * Moves the file, which must be closed, to `PATH.KIND-N` and leaves an empty one in its place.
   *
   * @returns where it lies.
   */
  async setAside(kind: "foreign" | "damaged"): Promise<string> {
    await this.#settle();
    const target = freeName(`${this.path}.${kind}-`);
    for (const suffix of ["", ...COMPANIONS]) {
      removeIfThere(`${target}${suffix}`);
      if (exists(`${this.path}${suffix}`)) {
        Deno.renameSync(`${this.path}${suffix}`, `${target}${suffix}`);
      }
    }
    openPrivate(this.path).close();
    return target;
  }

  /** Ends the claim. */
  release(): void {
    this.#lock.close();
  }

  /** Waits until SQLite has removed a closed database's companions, whose names are used again. */
  async #settle(): Promise<void> {
    for (let i = 0; i < 50 && COMPANIONS.some((suffix) => exists(this.path + suffix)); i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** Names of the tables of a sound database. */
function auditTables(path: string): string[] {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path);
    const [result] = db.prepare("PRAGMA quick_check(1)").all();
    const verdict = String(result?.quick_check);
    if (verdict !== "ok") throw new Error(verdict.replaceAll("\n", " "));
    return db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all()
      .map(({ name }) => String(name));
  } catch (error) {
    throw new UnfitStoreError("damaged", (error as Error).message);
  } finally {
    db?.close();
  }
}

/** Asked beforehand, since Deno would otherwise prompt at the terminal. */
function requirePermission(dir: string, flag: string): void {
  for (const name of ["read", "write"] as const) {
    if (Deno.permissions.querySync({ name, path: dir }).state === "granted") continue;
    throw new StoreUnusableError(
      `Not allowed to ${name} ${dir}: start with --allow-${name}=${dir}, or choose another ${flag}`,
    );
  }
}

function openPrivate(path: string): Deno.FsFile {
  return Deno.openSync(path, { read: true, write: true, create: true, mode: 0o600 });
}

/** Whether the file is read-only by its mode, which would not stop the superuser. */
function isReadOnly(path: string): boolean {
  const mode = exists(path) ? Deno.statSync(path).mode : null;
  return mode !== null && (mode & 0o222) === 0;
}

/** The first name that is free, or that of the file set aside longest ago. */
function freeName(prefix: string): string {
  const names = Array.from({ length: MAX_NUM_SET_ASIDE }, (_, i) => `${prefix}${i + 1}`);
  const age = (name: string) => Deno.statSync(name).mtime?.getTime() ?? 0;
  return names.find((name) => !exists(name)) ?? names.sort((a, b) => age(a) - age(b))[0]!;
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

function removeIfThere(path: string): void {
  if (exists(path)) Deno.removeSync(path);
}
