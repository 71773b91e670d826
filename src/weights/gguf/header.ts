import { StartupError } from "../../core/errors.ts";
import type { OpenFile } from "../file_ranges.ts";
import { ByteCursor } from "./byte_cursor.ts";
import { type Metadata, readMetadata } from "./metadata.ts";
import { type TensorType, tensorType, typeName } from "./tensor_types.ts";

/** A tensor of a file, and where its data lies in it. */
export interface GgufTensor {
  readonly name: string;
  readonly type: TensorType;
  /** Extents, slowest dimension first. */
  readonly shape: readonly number[];
  readonly numElements: number;
  /** Byte offset of the data from the start of the file. */
  readonly begin: number;
  readonly bytes: number;
}

/** All that a GGUF file says before its data. */
export interface GgufHeader {
  readonly metadata: Metadata;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** SHA-256, hexadecimal, of the file up to its data. */
  readonly digest: string;
}

const MAGIC = 0x46554747;
/** Version 2 differs from 3 in nothing that a little-endian file shows. */
const VERSIONS = [2, 3];
const DEFAULT_ALIGNMENT = 32;
const MAX_ALIGNMENT = 1 << 20;
/** The format's own limit. */
const MAX_RANK = 4;
const MAX_NAME_CHARS = 255;
/** Least bytes of a key with its value, and of a tensor's entry. */
const MIN_PAIR_BYTES = 13;
const MIN_TENSOR_BYTES = 24;
const MAX_TENSORS = 1 << 20;

/**
 * Reads and checks the header of a GGUF file: every count, length, offset and type against the real
 * file, no tensor overlapping another. The data is not read.
 *
 * @throws {StartupError} naming file, key or tensor, and what is wrong.
 */
export function readHeader(file: OpenFile): GgufHeader {
  const cursor = new ByteCursor(file);
  const magic = file.size < 8 ? 0 : cursor.u32();
  if (magic !== MAGIC) throw new StartupError(`${file.path} is not a GGUF file`);
  const version = cursor.u32();
  if (!VERSIONS.includes(version)) {
    const isSwapped = (version & 0xffff) === 0;
    throw new StartupError(
      isSwapped
        ? `${file.path} is a big-endian GGUF file, which is not supported`
        : `${file.path} has version ${version} of GGUF: known are ${VERSIONS.join(" and ")}`,
    );
  }
  const numTensors = cursor.requireRoom(cursor.u64(), MIN_TENSOR_BYTES, "the list of tensors");
  if (numTensors > MAX_TENSORS) {
    throw new StartupError(
      `${file.path} has ${numTensors} tensors, over the limit of ${MAX_TENSORS}`,
    );
  }
  const numPairs = cursor.requireRoom(cursor.u64(), MIN_PAIR_BYTES, "the metadata");
  const metadata = readMetadata(cursor, numPairs, file.path);
  const entries = Array.from({ length: numTensors }, () => readEntry(cursor, file.path));
  const alignment = alignmentOf(metadata);
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = placeTensors(entries, { dataStart, alignment }, file);
  return { metadata, tensors, digest: cursor.digest() };
}

function alignmentOf(metadata: Metadata): number {
  const alignment = metadata.count("general.alignment") ?? DEFAULT_ALIGNMENT;
  if (alignment > 0 && alignment <= MAX_ALIGNMENT && Number.isInteger(Math.log2(alignment))) {
    return alignment;
  }
  throw new StartupError(
    `${metadata.file}: general.alignment is ${alignment}: must be a power of two up to ` +
      `${MAX_ALIGNMENT}`,
  );
}

/** A tensor as its header entry describes it. */
interface Entry {
  readonly name: string;
  readonly shape: readonly bigint[];
  readonly typeId: number;
  /** From the start of the data. */
  readonly offset: bigint;
}

function readEntry(cursor: ByteCursor, file: string): Entry {
  const name = cursor.string("the name of a tensor");
  if (name === "" || name.length > MAX_NAME_CHARS) {
    throw new StartupError(
      `${file}: a tensor's name has ${name.length} characters: must be 1 to ${MAX_NAME_CHARS}`,
    );
  }
  const rank = cursor.u32();
  if (rank < 1 || rank > MAX_RANK) {
    throw new StartupError(
      `${file}: tensor ${JSON.stringify(name)} has ${rank} dimensions: must be 1 to ${MAX_RANK}`,
    );
  }
  // The file has the fastest dimension first.
  const shape = Array.from({ length: rank }, () => cursor.u64()).reverse();
  return { name, shape, typeId: cursor.u32(), offset: cursor.u64() };
}

/** Where the data lies. */
interface DataPlace {
  readonly dataStart: number;
  readonly alignment: number;
}

function placeTensors(
  entries: readonly Entry[],
  place: DataPlace,
  file: OpenFile,
): Map<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>();
  for (const entry of entries) {
    if (tensors.has(entry.name)) {
      throw new StartupError(`${file.path} has tensor ${JSON.stringify(entry.name)} twice`);
    }
    tensors.set(entry.name, placeTensor(entry, place, file));
  }
  requireNoOverlap(tensors, file.path);
  return tensors;
}

function placeTensor(
  { name, shape, typeId, offset }: Entry,
  { dataStart, alignment }: DataPlace,
  file: OpenFile,
): GgufTensor {
  const where = `${file.path}: tensor ${JSON.stringify(name)}`;
  const type = tensorType(typeId);
  if (type === undefined) {
    throw new StartupError(`${where} has type ${typeName(typeId)}, which is not supported`);
  }
  const columns = shape.at(-1)!;
  if (shape.includes(0n) || columns % BigInt(type.blockSize) !== 0n) {
    throw new StartupError(
      `${where} has shape [${shape.join(", ")}]: must be positive, and rows of ${type.name} ` +
        `multiples of ${type.blockSize}`,
    );
  }
  if (offset % BigInt(alignment) !== 0n) {
    throw new StartupError(
      `${where} begins at ${offset} of the data: must be a multiple of ${alignment}`,
    );
  }
  const numElements = shape.reduce((total, extent) => total * extent, 1n);
  const bytes = numElements / BigInt(type.blockSize) * BigInt(type.blockBytes);
  const left = BigInt(file.size) - BigInt(dataStart);
  if (offset + bytes > left) {
    throw new StartupError(
      `${where} takes bytes [${offset}, ${offset + bytes}) of the data, but the file has ` +
        `${left < 0n ? 0n : left} bytes of it`,
    );
  }
  return {
    name,
    type,
    shape: Object.freeze(shape.map(Number)),
    numElements: Number(numElements),
    begin: dataStart + Number(offset),
    bytes: Number(bytes),
  };
}

function requireNoOverlap(tensors: ReadonlyMap<string, GgufTensor>, file: string): void {
  const placed = [...tensors.values()].sort((a, b) => a.begin - b.begin);
  for (let i = 1; i < placed.length; i++) {
    const [before, after] = [placed[i - 1]!, placed[i]!];
    if (before.begin + before.bytes > after.begin) {
      throw new StartupError(
        `${file}: tensors ${JSON.stringify(before.name)} and ${JSON.stringify(after.name)} overlap`,
      );
    }
  }
}
