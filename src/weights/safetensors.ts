import { createHash } from "node:crypto";
import { invariant } from "../base/invariant.ts";
import { StartupError } from "../core/errors.ts";
import { openFile, readFully } from "./file_ranges.ts";
import {
  HEADER_PREFIX_BYTES,
  headerBytes,
  parseHeader,
  type PlacedTensor,
} from "./safetensors_header.ts";
import { findShards, resolveShard } from "./shards.ts";
import type { TensorInfo, Weights } from "./weights.ts";

export type { TensorInfo, Weights } from "./weights.ts";

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
    const tensors = withPrefix(chooseTensors(shards, fileOfTensor));
    return new SafetensorsWeights([...shards.values()], tensors);
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

/** Tensors that are no part of the model without a head, and have no prefix. */
const HEADS = /^(lm_head|score)\./;

/**
 * The tensors by the names that a model with a head gives them: checkpoints that were saved without
 * one, as those of embedding models are, lack the prefix `model.`.
 */
function withPrefix(tensors: Map<string, Located>): Map<string, Located> {
  if (!tensors.has("embed_tokens.weight")) return tensors;
  return new Map(
    [...tensors].map(([own, located]) => {
      const name = HEADS.test(own) ? own : `model.${own}`;
      return [name, { ...located, info: { ...located.info, name } }];
    }),
  );
}

function openShard(path: string): Shard {
  const { file, size } = openFile(path);
  try {
    const prefix = new Uint8Array(Math.min(size, HEADER_PREFIX_BYTES));
    readFully({ path, file }, 0, prefix);
    const json = new Uint8Array(headerBytes(prefix, size, path));
    readFully({ path, file }, HEADER_PREFIX_BYTES, json);
    const headerDigest = createHash("sha256").update(json).digest("hex");
    return { path, file, tensors: parseHeader(json, size, path), headerDigest };
  } catch (error) {
    file.close();
    throw error;
  }
}

/**
 * The tensors of safetensors files. Reading seeks and copies straight into the caller's array.
 */
class SafetensorsWeights implements Weights {
  readonly #shards: readonly Shard[];
  readonly #tensors: ReadonlyMap<string, Located>;
  #open = true;

  constructor(shards: readonly Shard[], tensors: ReadonlyMap<string, Located>) {
    this.#shards = shards;
    this.#tensors = tensors;
  }

  /** In the order of their headers or of the index. */
  names(): string[] {
    return [...this.#tensors.keys()];
  }

  tensor(name: string): TensorInfo {
    return this.#locate(name).info;
  }

  fileOf(name: string): string {
    return this.#locate(name).shard.path;
  }

  headerDigests(): string[] {
    return this.#shards.map((shard) => shard.headerDigest);
  }

  readRange(name: string, byteOffset: number, into: Uint8Array): void {
    invariant(this.#open, "weights are read after close()");
    const { shard, begin, info } = this.#locate(name);
    const end = byteOffset + into.byteLength;
    if (!Number.isSafeInteger(byteOffset) || byteOffset < 0 || end > info.bytes) {
      throw new RangeError(
        `Cannot read bytes [${byteOffset}, ${end}) of tensor ${name}: it has ${info.bytes}`,
      );
    }
    readFully(shard, begin + byteOffset, into);
  }

  /** Safetensors has no codes. */
  readGroups(): undefined {}

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
