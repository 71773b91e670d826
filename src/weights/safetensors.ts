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
import type { QuantizedDtype } from "../core/weight_format.ts";
import { decodeMxfp4, MXFP4_BLOCK, mxfp4Groups, mxfp4Info, type Mxfp4Tensor } from "./mxfp4.ts";
import type { QuantizedGroups } from "./pack_rows.ts";
import { type Checkpoint, requireRange, type RowRange, type TensorInfo } from "./checkpoint.ts";

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
export function openSafetensors(dir: string): Checkpoint {
  const { path, files, fileOfTensor } = findShards(dir);
  const shards = new Map<string, Shard>();
  try {
    for (const file of files) shards.set(file, openShard(resolveShard(dir, file)));
    const tensors = withPrefix(chooseTensors(shards, fileOfTensor));
    return new SafetensorsCheckpoint(path, [...shards.values()], tensors);
  } catch (error) {
    for (const shard of shards.values()) shard.file.close();
    throw error;
  }
}

/** A tensor of a file, its place and its file. */
interface Located extends PlacedTensor {
  readonly shard: Shard;
}

/** A tensor of plain numbers, or one that a file has as two. */
type Source =
  | { readonly info: TensorInfo; readonly plain: Located }
  | Mxfp4Tensor<Located>;

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

/**
 * The tensors that those of the files make up.
 *
 * @throws {StartupError} naming a part of MXFP4 that lacks the other one or does not fit it.
 */
function sourcesOf(located: ReadonlyMap<string, Located>): Map<string, Source> {
  const sources = new Map<string, Source>();
  for (const [name, part] of located) {
    const { dtype, ...info } = part.info;
    if (dtype !== "U8") {
      sources.set(name, { info: Object.freeze({ ...info, dtype }), plain: part });
      continue;
    }
    const stem = name.replace(/_(blocks|scales)$/, "");
    const [blocks, scales] = ["blocks", "scales"].map((kind) => located.get(`${stem}_${kind}`));
    if (blocks?.info.dtype !== "U8" || scales?.info.dtype !== "U8") {
      const other = name.endsWith("_blocks") ? "scales" : "blocks";
      throw new StartupError(
        `${part.shard.path}: tensor ${JSON.stringify(name)} is a part of MXFP4, but there is no ` +
          JSON.stringify(`${stem}_${other}`),
      );
    }
    const whole = mxfp4Info(blocks.info, scales.info, part.shard.path);
    sources.set(stem, { info: whole, blocks, scales });
  }
  return sources;
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
class SafetensorsCheckpoint implements Checkpoint {
  readonly #path: string;
  readonly #shards: readonly Shard[];
  readonly #tensors: ReadonlyMap<string, Source>;
  #open = true;

  /** @param path what lists the tensors: the only file, or the index. */
  constructor(
    path: string,
    shards: readonly Shard[],
    tensors: ReadonlyMap<string, Located>,
  ) {
    this.#path = path;
    this.#shards = shards;
    this.#tensors = sourcesOf(tensors);
  }

  /** In the order of their headers or of the index. */
  names(): string[] {
    return [...this.#tensors.keys()];
  }

  tensor(name: string): TensorInfo {
    return this.#locate(name).info;
  }

  fileOf(name: string): string {
    const source = this.#locate(name);
    return ("plain" in source ? source.plain : source.blocks).shard.path;
  }

  headerDigests(): string[] {
    return this.#shards.map((shard) => shard.headerDigest);
  }

  readRange(name: string, byteOffset: number, into: Uint8Array): void {
    invariant(this.#open, "weights are read after close()");
    const source = this.#locate(name);
    requireRange(source.info, byteOffset, into.byteLength);
    if ("plain" in source) readPart(source.plain, byteOffset, into);
    else readMxfp4(source, byteOffset, into);
  }

  readGroups(
    name: string,
    { begin, end }: RowRange,
    dtype: QuantizedDtype,
  ): QuantizedGroups | undefined {
    invariant(this.#open, "weights are read after close()");
    const source = this.#locate(name);
    if ("plain" in source || dtype !== "int8g32") return undefined;
    const perRow = source.info.shape.at(-1)! / MXFP4_BLOCK.size;
    const { blocks, scales } = readBlocks(source, begin * perRow, (end - begin) * perRow);
    return mxfp4Groups(blocks, scales);
  }

  readBlocks(name: string): never {
    throw new TypeError(`${name} is in no blocks: safetensors has plain numbers`);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const shard of this.#shards) shard.file.close();
  }

  #locate(name: string): Source {
    const located = this.#tensors.get(name);
    if (located === undefined) {
      throw new StartupError(`${this.#path} has no tensor ${JSON.stringify(name)}`);
    }
    return located;
  }
}

/** Fills `into` with a file's tensor's bytes from `at` on. */
function readPart({ shard, begin }: Located, at: number, into: Uint8Array): void {
  readFully(shard, begin + at, into);
}

/** Blocks `[first, first + count)` of a tensor, and their scales. */
function readBlocks(tensor: Mxfp4Tensor<Located>, first: number, count: number) {
  const blocks = new Uint8Array(count * MXFP4_BLOCK.bytes);
  const scales = new Uint8Array(count);
  readPart(tensor.blocks, first * MXFP4_BLOCK.bytes, blocks);
  readPart(tensor.scales, first, scales);
  return { blocks, scales };
}

/** Fills `into` with the f32 bytes of a tensor from `byteOffset` on. */
function readMxfp4(tensor: Mxfp4Tensor<Located>, byteOffset: number, into: Uint8Array): void {
  if (into.byteLength === 0) return;
  const unit = 4 * MXFP4_BLOCK.size;
  const first = Math.floor(byteOffset / unit);
  const count = Math.ceil((byteOffset + into.byteLength) / unit) - first;
  const { blocks, scales } = readBlocks(tensor, first, count);
  const bytes = new Uint8Array(decodeMxfp4(blocks, scales).buffer);
  const skipped = byteOffset - first * unit;
  into.set(bytes.subarray(skipped, skipped + into.byteLength));
}
