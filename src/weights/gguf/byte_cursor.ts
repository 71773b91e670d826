import { createHash } from "node:crypto";
import { StartupError } from "../../core/errors.ts";
import { type OpenFile, readFully } from "../file_ranges.ts";

/** Bytes read ahead at a time. */
const WINDOW_BYTES = 1 << 20;

/** Longest string, bytes; the largest chat templates have some tens of thousands. */
const MAX_STRING_BYTES = 16 << 20;

/** Longest header, bytes; those of the largest vocabularies have some 15 million. */
const MAX_HEADER_BYTES = 256 << 20;

/**
 * Reads a file's little-endian header from the front, a window of it in memory at a time.
 *
 * Nothing that the file says is trusted: a number of bytes is compared with those that are left
 * before anything of that size is allocated.
 */
export class ByteCursor {
  readonly #file: OpenFile;
  readonly #hash = createHash("sha256");
  readonly #text = new TextDecoder("utf-8", { fatal: true });
  #window = new Uint8Array();
  /** Byte of the file at which the window begins. */
  #begin = 0;
  /** Byte of the window that is read next. */
  #at = 0;

  constructor(file: OpenFile) {
    this.#file = file;
  }

  /** Byte of the file that is read next. */
  get position(): number {
    return this.#begin + this.#at;
  }

  /** SHA-256, hexadecimal, of all bytes before `position`. Nothing can be read afterwards. */
  digest(): string {
    this.#hash.update(this.#window.subarray(0, this.#at));
    return this.#hash.digest("hex");
  }

  /**
   * Requires that `count` things of at least `bytes` each can still follow.
   *
   * @param what names them in the error.
   * @throws {StartupError} when the file is too short for them.
   */
  requireRoom(count: number | bigint, bytes: number, what: string): number {
    const left = this.#file.size - this.position;
    if (BigInt(count) * BigInt(bytes) > BigInt(left)) {
      throw new StartupError(
        `${this.#file.path}: ${what} at byte ${this.position} has ${count} items of ${bytes} or ` +
          `more bytes, but ${left} bytes are left in the file`,
      );
    }
    return Number(count);
  }

  u8(): number {
    return this.#take(1).getUint8(0);
  }

  i8(): number {
    return this.#take(1).getInt8(0);
  }

  u16(): number {
    return this.#take(2).getUint16(0, true);
  }

  i16(): number {
    return this.#take(2).getInt16(0, true);
  }

  u32(): number {
    return this.#take(4).getUint32(0, true);
  }

  i32(): number {
    return this.#take(4).getInt32(0, true);
  }

  f32(): number {
    return this.#take(4).getFloat32(0, true);
  }

  u64(): bigint {
    return this.#take(8).getBigUint64(0, true);
  }

  i64(): bigint {
    return this.#take(8).getBigInt64(0, true);
  }

  f64(): number {
    return this.#take(8).getFloat64(0, true);
  }

  /**
   * A string: its bytes as u64, then UTF-8.
   *
   * @throws {StartupError} when it is longer than the file or the limit, or no UTF-8.
   */
  string(what: string): string {
    const length = this.requireRoom(this.u64(), 1, what);
    if (length > MAX_STRING_BYTES) {
      throw new StartupError(
        `${this.#file.path}: ${what} has ${length} bytes, over the limit of ${MAX_STRING_BYTES}`,
      );
    }
    const { buffer, byteOffset } = this.#take(length);
    try {
      return this.#text.decode(new Uint8Array(buffer, byteOffset, length));
    } catch {
      throw new StartupError(`${this.#file.path}: ${what} is not valid UTF-8`);
    }
  }

  /** A view of the next `count` bytes, valid until the next call. */
  #take(count: number): DataView<ArrayBuffer> {
    if (this.#at + count > this.#window.byteLength) this.#refill(count);
    const view = new DataView(this.#window.buffer, this.#window.byteOffset + this.#at, count);
    this.#at += count;
    return view;
  }

  #refill(count: number): void {
    const { position } = this;
    const left = this.#file.size - position;
    if (count > left) {
      throw new StartupError(
        `${this.#file.path}: the header goes on at byte ${position}, where the file has ${left} ` +
          `bytes left: it has been cut short`,
      );
    }
    if (position + count > MAX_HEADER_BYTES) {
      throw new StartupError(
        `${this.#file.path}: the header is longer than the limit of ${MAX_HEADER_BYTES} bytes`,
      );
    }
    this.#hash.update(this.#window.subarray(0, this.#at));
    this.#window = new Uint8Array(Math.min(Math.max(count, WINDOW_BYTES), left));
    readFully(this.#file, position, this.#window);
    this.#begin = position;
    this.#at = 0;
  }
}
