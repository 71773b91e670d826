import { StartupError } from "../../core/errors.ts";
import { decodeToF32 } from "../dtypes.ts";
import { type OpenFile, openFile, readFully } from "../file_ranges.ts";
import { resolveShard } from "../shards.ts";
import { type GgufHeader, type GgufTensor, readHeader } from "./header.ts";
import type { Metadata } from "./metadata.ts";
import { dequantize } from "./tensor_types.ts";

/** `NAME-00001-of-00003.gguf`: part numbers begin at 1. */
const PART_NAME = /^(.+)-(\d{5})-of-(\d{5})\.gguf$/i;
const MAX_PARTS = 1024;
/** Most elements of a vector that is read for the config. */
const MAX_VECTOR = 1 << 16;

/** A tensor, and the file that it lies in. */
export interface LocatedTensor extends GgufTensor {
  readonly file: OpenFile;
}

/** An open GGUF file, or the open parts of a split one. */
export interface GgufFile {
  /** As it was named; of a split file, the first part. */
  readonly path: string;
  /** Of a split file, the first part's. */
  readonly metadata: Metadata;
  /** By their names in the file. */
  readonly tensors: ReadonlyMap<string, LocatedTensor>;
  /** SHA-256 of each part's header. */
  readonly digests: readonly string[];
  /** The numbers of a short vector; undefined where there is none of that name. */
  readVector(name: string): Float32Array | undefined;
  /** Closes all parts. */
  close(): void;
}

/** Whether a path names a GGUF file. */
export function isGgufPath(path: string): boolean {
  return /\.gguf$/i.test(path);
}

/** Whether a file's name is that of a part of a split file which is not the first. */
export function isLaterPart(name: string): boolean {
  return Number(PART_NAME.exec(name)?.[2] ?? 1) > 1;
}

/**
 * Opens a GGUF file, with all its parts where it is split and the first is named. Headers are read
 * and checked here; data only on request.
 *
 * @throws {StartupError} naming file, key or tensor, and what is wrong. No file stays open.
 */
export function openGguf(path: string): GgufFile {
  const files: OpenFile[] = [];
  const close = () => files.forEach(({ file }) => file.close());
  try {
    const headers: GgufHeader[] = [];
    for (const part of partsOf(path)) {
      const file = openFile(part);
      files.push(file);
      headers.push(readHeader(file));
    }
    const tensors = joinParts(files, headers);
    return {
      path,
      metadata: headers[0]!.metadata,
      tensors,
      digests: headers.map(({ digest }) => digest),
      readVector: (name) => readVector(tensors.get(name)),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** Paths of all parts, in order. */
function partsOf(path: string): string[] {
  const slash = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"));
  const match = PART_NAME.exec(path.slice(slash + 1));
  if (match === null) return [path];
  const [, prefix, number, count] = match;
  const total = Number(count);
  const nameOf = (part: number) => `${prefix}-${String(part).padStart(5, "0")}-of-${count}.gguf`;
  if (Number(number) !== 1) {
    throw new StartupError(`${path} is part ${Number(number)} of a model: name ${nameOf(1)}`);
  }
  if (total < 1 || total > MAX_PARTS) {
    throw new StartupError(`${path} is one of ${total} parts: must be 1 to ${MAX_PARTS}`);
  }
  const directory = slash < 0 ? "." : path.slice(0, slash) || "/";
  return Array.from({ length: total }, (_, i) => {
    if (i === 0) return path;
    // A part may be a link only where the hub's cache makes it one.
    resolveShard(directory, nameOf(i + 1));
    return `${directory}/${nameOf(i + 1)}`;
  });
}

/** The tensors of all parts, which must belong together. */
function joinParts(
  files: readonly OpenFile[],
  headers: readonly GgufHeader[],
): Map<string, LocatedTensor> {
  const tensors = new Map<string, LocatedTensor>();
  for (const [i, { metadata, tensors: own }] of headers.entries()) {
    const file = files[i]!;
    checkPart(metadata, i, headers.length);
    for (const [name, tensor] of own) {
      if (tensors.has(name)) {
        throw new StartupError(
          `${file.path} has tensor ${JSON.stringify(name)}, which an earlier part has as well`,
        );
      }
      tensors.set(name, { ...tensor, file });
    }
  }
  const total = headers[0]!.metadata.count("split.tensors.count");
  if (headers.length > 1 && total !== undefined && total !== tensors.size) {
    throw new StartupError(
      `${files[0]!.path}: split.tensors.count is ${total}, but the parts have ${tensors.size}`,
    );
  }
  return tensors;
}

function checkPart(metadata: Metadata, index: number, numParts: number): void {
  const count = metadata.count("split.count") ?? (numParts === 1 ? 1 : 0);
  if (count !== numParts && !(numParts === 1 && count === 0)) {
    throw new StartupError(
      `${metadata.file}: split.count is ${count}, but its name says ${numParts}: ` +
        `parts are named NAME-00001-of-${String(count).padStart(5, "0")}.gguf`,
    );
  }
  const number = metadata.count("split.no") ?? index;
  if (number !== index) {
    throw new StartupError(
      `${metadata.file}: split.no is ${number}, but its name says ${index} (counted from 0)`,
    );
  }
}

function readVector(tensor: LocatedTensor | undefined): Float32Array | undefined {
  if (tensor === undefined) return undefined;
  if (tensor.numElements > MAX_VECTOR) {
    throw new StartupError(
      `${tensor.file.path}: tensor ${JSON.stringify(tensor.name)} has ${tensor.numElements} ` +
        `elements, over the limit of ${MAX_VECTOR}`,
    );
  }
  const bytes = new Uint8Array(tensor.bytes);
  readFully(tensor.file, tensor.begin, bytes);
  const values = new Float32Array(tensor.numElements);
  if (tensor.type.decode === undefined) decodeToF32(tensor.type.name, bytes, values);
  else dequantize(tensor.type, bytes, values);
  return values;
}
