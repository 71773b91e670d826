import { createHash } from "node:crypto";
import { invariant } from "../base/invariant.ts";
import { StartupError } from "../core/errors.ts";
import {
  HEADER_PREFIX_BYTES,
  headerBytes,
  parseHeader,
  type PlacedTensor,
  type TensorInfo,
} from "./safetensors_header.ts";
import { findShards, resolveShard } from "./shards.ts";

export type { TensorInfo } from "./safetensors_header.ts";

/** Most bytes asked of the file system at once. */
const MAX_READ_BYTES = 16 * 1024 * 1024;

/** An open file of a checkpoint. */
interface Shard {
  readonly path: string;
  readonly file: Deno.FsFile;
  readonly tensors: ReadonlyMap<string, PlacedTensor>;
  readonly headerDigest: string;
}

/**
 * Opens the safetensors checkpoint in `dir`, single or sharded. Headers are read and checked here;
 * tensor data only on request.
 *
 * @throws {StartupError} naming file, tensor and what is wrong. No file stays open.
 */
export function openWeights(dir: string): Weights {
  const { files, fileOfTensor } = findShards(dir);
  const shards = new Map<string, Shard>();
  try {
    for (const file of files) shards.set(file, openShard(resolveShard(dir, file)));
    return new Weights([...shards.values()], chooseTensors(shards, fileOfTensor));
  } catch (error) {
    for (const shard of shards.values()) shard.file.close();
    throw error;
  }
}

/** A tensor, its place and its file. */
interface Located extends PlacedTensor {
  readonly shard: Shard;
}

function chooseTensors(
  shards: ReadonlyMap<string, Shard>,
  fileOfTensor: ReadonlyMap<string, string> | undefined,
): Map<string, Located> {
  const located = new Map<string, Located>();
  if (fileOfTensor === undefined) {
    for (const shard of shards.values()) {
      for (const [name, placed] of shard.tensors) located.set(name, { ...placed, shard });
    }
    return located;
  }
  for (const [name, file] of fileOfTensor) {
    const shard = shards.get(file)!;
    const placed = shard.tensors.get(name);
    if (placed === undefined) {
      throw new StartupError(
        `${shard.path} lacks tensor ${JSON.stringify(name)}, which the index places there`,
      );
    }
    located.set(name, { ...placed, shard });
  }
  return located;
}

function openShard(path: string): Shard {
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path, { read: true });
  } catch (error) {
    throw new StartupError(`Cannot open weights file ${path}: ${(error as Error).message}`);
  }
  try {
    const { isFile, size } = file.statSync();
    if (!isFile) throw new StartupError(`${path} is not a regular file`);
    const prefix = new Uint8Array(Math.min(size, HEADER_PREFIX_BYTES));
    readFully(file, 0, prefix, path);
    const json = new Uint8Array(headerBytes(prefix, size, path));
    readFully(file, HEADER_PREFIX_BYTES, json, path);
    const headerDigest = createHash("sha256").update(json).digest("hex");
    return { path, file, tensors: parseHeader(json, size, path), headerDigest };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Fills `into` from byte `offset` on. A file that has become shorter is a `StartupError`. */
function readFully(file: Deno.FsFile, offset: number, into: Uint8Array, path: string): void {
  file.seekSync(offset, Deno.SeekMode.Start);
  let filled = 0;
  while (filled < into.byteLength) {
    const count = file.readSync(into.subarray(filled, filled + MAX_READ_BYTES));
    if (count === null) {
      throw new StartupError(`${path} ends at byte ${offset + filled}: it has been cut short`);
    }
    filled += count;
  }
}

/**
 * An open checkpoint: what tensors it has, and their bytes.
 *
 * Owns its files until `close()`. Reading seeks and copies straight into the caller's array, in
 * pieces of at most 16 MiB; nothing is kept in memory but the headers.
 */
export class Weights {
  readonly #shards: readonly Shard[];
  readonly #tensors: ReadonlyMap<string, Located>;
  #open = true;

  constructor(shards: readonly Shard[], tensors: ReadonlyMap<string, Located>) {
    this.#shards = shards;
    this.#tensors = tensors;
  }

  /** Names of all tensors, in the order of their headers or of the index. */
  names(): string[] {
    return [...this.#tensors.keys()];
  }

  /** @throws {StartupError} when the checkpoint has no such tensor. */
  tensor(name: string): TensorInfo {
    return this.#locate(name).info;
  }

  /** Path of the file that holds a tensor. @throws {StartupError} when there is no such tensor. */
  fileOf(name: string): string {
    return this.#locate(name).shard.path;
  }

  /** SHA-256 of each file's header, hexadecimal, in the files' order. */
  headerDigests(): string[] {
    return this.#shards.map((shard) => shard.headerDigest);
  }

  /**
   * Fills `into` with the tensor's bytes `[byteOffset, byteOffset + into.byteLength)`.
   *
   * @throws {RangeError} when the range does not lie in the tensor.
   * @throws {StartupError} when there is no such tensor or its file has been cut short.
   */
  readRange(name: string, byteOffset: number, into: Uint8Array): void {
    invariant(this.#open, "weights are read after close()");
    const { shard, begin, info } = this.#locate(name);
    const end = byteOffset + into.byteLength;
    if (!Number.isSafeInteger(byteOffset) || byteOffset < 0 || end > info.bytes) {
      throw new RangeError(
        `Cannot read bytes [${byteOffset}, ${end}) of tensor ${name}: it has ${info.bytes}`,
      );
    }
    readFully(shard.file, begin + byteOffset, into, shard.path);
  }

  /** Closes the files; idempotent. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const shard of this.#shards) shard.file.close();
  }

  #locate(name: string): Located {
    const located = this.#tensors.get(name);
    if (located === undefined) {
      throw new StartupError(`The weights have no tensor ${JSON.stringify(name)}`);
    }
    return located;
  }
}
