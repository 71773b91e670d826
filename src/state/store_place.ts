import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { StartupError } from "../core/errors.ts";
import { currentStateDirectory } from "./state_directory.ts";
import { PREFIX_STORE, STORE_KINDS, type StoreKind } from "./store_kinds.ts";

/** Where a store lies, and of which kind it is. */
export interface StorePlace {
  readonly path: string;
  readonly kind: StoreKind;
}

/** SQLite's header, of which the first 16 bytes are the same in every database. */
const HEADER_BYTES = 100;
const SQLITE_MAGIC = "SQLite format 3\0";
/** Offset of `application_id`, a big-endian number. */
const MARK_OFFSET = 68;
/** Deno KV's encodings of the keys `["header"]` and, of prefix stores, `["cache_secret"]`. */
const HEADER_KEY = "0268656164657200";
const SECRET_KEY = "0263616368655f73656372657400";

/**
 * Makes sure that what lies at a place may be used and moved away: nothing, an empty file, a store
 * of ours by its mark, or any file under our own name in Quire's own state directory. Changes
 * nothing.
 *
 * @returns the path to use: that of the file behind a symbolic link.
 * @throws {StartupError} for everything else, which stays as it is; says flag, path and what it is.
 */
export function checkStorePlace(place: StorePlace): string {
  const { path } = place;
  if (Deno.permissions.querySync({ name: "read", path }).state !== "granted") return path;
  const info = infoOf(path);
  if (info === undefined) {
    if (isSymlink(path)) throw refusal(place, "a symbolic link to nothing");
    return path;
  }
  if (info.isDirectory) throw refusal(place, "a directory");
  if (!info.isFile) throw refusal(place, "no regular file");
  const realPath = isSymlink(path) ? Deno.realPathSync(path) : path;
  if (info.size === 0 || isOwnPlace(place)) return realPath;
  const header = readHeader(realPath);
  const mark = header && markOf(header);
  if (header === undefined || mark === place.kind.mark) return realPath;
  const other = STORE_KINDS.find((kind) => kind.mark === mark);
  if (other !== undefined) throw refusal(place, `a ${other.name} of Quire`);
  if (isUnmarkedStore(realPath, place.kind)) return realPath;
  throw refusal(place, describeContents(header));
}

/** Whether the file carries the mark of its kind. */
export function isMarked({ path, kind }: StorePlace): boolean {
  const header = readHeader(path);
  return header !== undefined && markOf(header) === kind.mark;
}

/** Marks a sound database, or an empty file, as a store of a kind; no process has it open. */
export function markStore({ path, kind }: StorePlace): void {
  const db = new DatabaseSync(path);
  try {
    db.exec(`PRAGMA application_id = ${kind.mark}`);
  } finally {
    db.close();
  }
}

function refusal({ path, kind }: StorePlace, what: string): StartupError {
  return new StartupError(
    `${kind.flag} ${path} is ${what}, not a ${kind.name} of Quire, and stays as it is: ` +
      `give a ${kind.name}, a path where nothing lies, or none`,
  );
}

/** Files under our own names in our own folder are ours by their place. */
function isOwnPlace({ path, kind }: StorePlace): boolean {
  const dir = currentStateDirectory();
  return dir !== undefined && path === `${dir}/${kind.fileName}`;
}

function markOf(header: Uint8Array): number | undefined {
  if (!isDatabase(header)) return undefined;
  return new DataView(header.buffer, header.byteOffset).getUint32(MARK_OFFSET);
}

function isDatabase(header: Uint8Array): boolean {
  return header.length === HEADER_BYTES &&
    new TextDecoder().decode(header.subarray(0, SQLITE_MAGIC.length)) === SQLITE_MAGIC;
}

/** Whether a sound database without a mark is a store of ours, as they were made before marks. */
function isUnmarkedStore(path: string, kind: StoreKind): boolean {
  let db: DatabaseSync | undefined;
  try {
    const url = pathToFileURL(Deno.realPathSync(path));
    // So that SQLite takes no lock, and leaves the file and its folder as they are.
    url.searchParams.set("immutable", "1");
    db = new DatabaseSync(url, { readOnly: true });
    const keys = db.prepare(
      `SELECT hex(k) AS key FROM kv WHERE k = x'${HEADER_KEY}' AND instr(v, 'formatVersion') > 0 ` +
        `UNION ALL SELECT hex(k) FROM kv WHERE k = x'${SECRET_KEY}'`,
    ).all().map(({ key }) => String(key).toLowerCase());
    const hasSecret = keys.includes(SECRET_KEY);
    return keys.includes(HEADER_KEY) && hasSecret === (kind.mark === PREFIX_STORE.mark);
  } catch {
    return false;
  } finally {
    db?.close();
  }
}

function describeContents(header: Uint8Array): string {
  if (isDatabase(header)) return "an SQLite database of another program";
  const isText = !header.includes(0) && isUtf8(header);
  return isText ? "a text file" : "a file of another format";
}

/** Whether bytes are UTF-8, of which the last character may be cut. */
function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}

/** The first bytes of a file; undefined where it cannot be read. */
function readHeader(path: string): Uint8Array | undefined {
  let file: Deno.FsFile | undefined;
  try {
    file = Deno.openSync(path);
    const bytes = new Uint8Array(HEADER_BYTES);
    return bytes.subarray(0, file.readSync(bytes) ?? 0);
  } catch {
    return undefined;
  } finally {
    file?.close();
  }
}

function infoOf(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch {
    return undefined;
  }
}

function isSymlink(path: string): boolean {
  try {
    return Deno.lstatSync(path).isSymlink;
  } catch {
    return false;
  }
}
