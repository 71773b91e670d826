import { invariant } from "../../base/invariant.ts";
import { StartupError } from "../../core/errors.ts";
import { type IntDtype, type QuantBlockDtype, quantizedDtype } from "../../core/weight_format.ts";
import { decodeToF32, DTYPE_BYTES } from "../dtypes.ts";
import { readFully } from "../file_ranges.ts";
import type { PackedRows, QuantizedGroups } from "../pack_rows.ts";
import {
  type Checkpoint,
  type QuantBlockFormat,
  requireRange,
  type RowRange,
  type TensorInfo,
} from "../checkpoint.ts";
import { type GgufFile, type LocatedTensor, openGguf } from "./gguf_file.ts";
import { findUnsoundUnit, packBlocks } from "./pack_blocks.ts";
import { hasStoredGroups, storedGroups } from "./stored_groups.ts";
import { checkpointTensors, type TensorView } from "./tensor_names.ts";
import { type BlockType, dequantize } from "./tensor_types.ts";

/**
 * Opens the tensors of a GGUF file under the names and in the order of rows that Hugging Face
 * checkpoints have.
 *
 * @throws {StartupError} as `openGguf`, and for an architecture that is not known.
 */
export function openGgufCheckpoint(path: string): Checkpoint {
  const gguf = openGguf(path);
  try {
    return new GgufCheckpoint(gguf);
  } catch (error) {
    gguf.close();
    throw error;
  }
}

/**
 * Tensors of a GGUF file. Those in quantized blocks are read as f32, dequantized piece by piece as
 * they are asked for; nothing is kept in memory but headers.
 */
class GgufCheckpoint implements Checkpoint {
  readonly #gguf: GgufFile;
  readonly #tensors: ReadonlyMap<string, { readonly info: TensorInfo; readonly view: TensorView }>;
  #open = true;

  constructor(gguf: GgufFile) {
    this.#gguf = gguf;
    this.#tensors = new Map(
      [...checkpointTensors(gguf)].map((
        [name, view],
      ) => [name, { info: infoOf(name, view), view }]),
    );
  }

  names(): string[] {
    return [...this.#tensors.keys()];
  }

  tensor(name: string): TensorInfo {
    return this.#locate(name).info;
  }

  fileOf(name: string): string {
    return this.#locate(name).view.tensor.file.path;
  }

  headerDigests(): string[] {
    return [...this.#gguf.digests];
  }

  readRange(name: string, byteOffset: number, into: Uint8Array): void {
    invariant(this.#open, "weights are read after close()");
    const { info, view } = this.#locate(name);
    requireRange(info, byteOffset, into.byteLength);
    const end = byteOffset + into.byteLength;
    if (into.byteLength === 0) return;
    const { blockSize } = view.tensor.type;
    const unit = DTYPE_BYTES[info.dtype] * blockSize;
    const first = Math.floor(byteOffset / unit);
    const count = Math.ceil(end / unit) - first;
    const bytes = elementBytes(view, readBlocks(view, first, count), count * blockSize);
    into.set(bytes.subarray(byteOffset - first * unit, end - first * unit));
  }

  readGroups(
    name: string,
    { begin, end }: RowRange,
    dtype: IntDtype,
  ): QuantizedGroups | undefined {
    invariant(this.#open, "weights are read after close()");
    const { info, view } = this.#locate(name);
    const { type, shape } = view.tensor;
    if (info.blocks === undefined || type.decode === undefined || !hasStoredGroups(type)) return;
    // Codes of int4 fit int8 as well, as in a stack with tensors of more bits.
    if (dtype !== "int8g32" && dtype !== quantizedDtype(info.blocks.nearest)) return;
    const perRow = shape.at(-1)! / type.blockSize;
    const bytes = readBlocks(view, begin * perRow, (end - begin) * perRow);
    const groups = storedGroups(type, bytes, dtype);
    const at = groups?.scales.findIndex((scale) => !Number.isFinite(scale)) ?? -1;
    if (at === -1) return groups;
    const groupsPerRow = groups!.scales.length / (end - begin);
    throw this.#notFinite(name, groups!.scales[at]!, begin + Math.floor(at / groupsPerRow));
  }

  readBlocks(name: string, { begin, end }: RowRange, dtype: QuantBlockDtype): PackedRows {
    invariant(this.#open, "weights are read after close()");
    const { info, view } = this.#locate(name);
    invariant(info.blocks?.kept === dtype, `${name} is ${info.blocks?.name}, not kept as ${dtype}`);
    const { type, shape } = view.tensor;
    const perRow = shape.at(-1)! / type.blockSize;
    const bytes = readBlocks(view, begin * perRow, (end - begin) * perRow);
    const found = findUnsoundUnit(bytes, dtype);
    if (found === undefined) return packBlocks(bytes, shape.at(-1)!, dtype);
    throw this.#notFinite(name, found.unit, begin + Math.floor(found.block / perRow));
  }

  #notFinite(name: string, scale: number, row: number): StartupError {
    return new StartupError(
      `${this.fileOf(name)}: tensor ${JSON.stringify(name)} has a scale of ${scale} in row ` +
        `${row}: weights must be finite numbers`,
    );
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#gguf.close();
  }

  #locate(name: string) {
    const located = this.#tensors.get(name);
    if (located === undefined) {
      throw new StartupError(`${this.#gguf.path} has no tensor ${JSON.stringify(name)}`);
    }
    return located;
  }
}

function infoOf(name: string, { tensor, addend }: TensorView): TensorInfo {
  const { type, shape, numElements } = tensor;
  const dtype = type.decode === undefined && addend === undefined ? type.name : "F32";
  const isMatrix = type.decode !== undefined && shape.length > 1;
  return Object.freeze({
    name,
    dtype,
    shape,
    numElements,
    bytes: numElements * DTYPE_BYTES[dtype],
    ...(isMatrix ? { blocks: blockFormat(type) } : {}),
  });
}

function blockFormat({ name, kept, nearest }: BlockType): QuantBlockFormat {
  return kept === undefined ? { name, nearest } : { name, kept, nearest };
}

/** Blocks `[first, first + count)` as they lie in the file, rows in the checkpoint's order. */
function readBlocks({ tensor, pairedRows }: TensorView, first: number, count: number): Uint8Array {
  const { type: { blockBytes }, begin, file } = tensor;
  const bytes = new Uint8Array(count * blockBytes);
  if (pairedRows === undefined) readFully(file, begin + first * blockBytes, bytes);
  else readPairedRows(tensor, pairedRows, { first, bytes });
  return bytes;
}

/**
 * Reads rows that were reordered within each head, a head at a time: the checkpoint's rows i and
 * i + D/2 of a head are rows 2i and 2i + 1 of the file.
 */
function readPairedRows(
  { type, shape, begin, file }: LocatedTensor,
  headRows: number,
  { first, bytes }: { readonly first: number; readonly bytes: Uint8Array },
): void {
  const columns = shape.length === 1 ? 1 : shape.at(-1)!;
  const rowBytes = columns / type.blockSize * type.blockBytes;
  const head = new Uint8Array(headRows * rowBytes);
  const from = first * type.blockBytes;
  const to = from + bytes.byteLength;
  for (let at = Math.floor(from / head.byteLength) * head.byteLength; at < to;) {
    readFully(file, begin + at, head);
    for (let row = 0; row < headRows; row++) {
      const half = headRows / 2;
      const source = row < half ? 2 * row : 2 * (row - half) + 1;
      const skipped = Math.max(0, from - at);
      const taken = Math.min(rowBytes, to - at);
      if (skipped < taken) {
        const rowOf = source * rowBytes;
        bytes.set(head.subarray(rowOf + skipped, rowOf + taken), at + skipped - from);
      }
      at += rowBytes;
    }
  }
}

/** The elements of whole blocks, as the tensor's info types them. */
function elementBytes(
  { tensor: { type }, addend }: TensorView,
  raw: Uint8Array,
  numElements: number,
): Uint8Array {
  if (type.decode === undefined && addend === undefined) return raw;
  const values = new Float32Array(numElements);
  if (type.decode === undefined) decodeToF32(type.name, raw, values);
  else dequantize(type, raw, values);
  if (addend !== undefined) values.forEach((value, i) => values[i] = value + addend);
  return new Uint8Array(values.buffer);
}
