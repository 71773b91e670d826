import type {
  IntDtype,
  QuantBlockDtype,
  Quantization,
  QuantizedDtype,
} from "../core/weight_format.ts";
import type { TensorDtype } from "./dtypes.ts";
import type { PackedRows, QuantizedGroups } from "./pack_rows.ts";

/** One tensor of a checkpoint; its elements are dense, row-major, little-endian. */
export interface TensorInfo {
  readonly name: string;
  /** The type in which its elements are read. */
  readonly dtype: TensorDtype;
  /** Extents, slowest dimension first; empty for a scalar. */
  readonly shape: readonly number[];
  readonly numElements: number;
  /** Size of the elements as they are read: `numElements` times the size of one. */
  readonly bytes: number;
  /** Absent for a tensor that the file has as plain numbers. */
  readonly blocks?: QuantBlockFormat;
}

/** How a file has a tensor that it holds in quantized blocks. */
export interface QuantBlockFormat {
  /** The format's name for messages, such as `Q4_K`. */
  readonly name: string;
  /** The format of device memory that holds the blocks of a matrix with all their bits, if any. */
  readonly kept?: QuantizedDtype;
  /** How else a matrix is quantized again unless the user asks for another way. */
  readonly nearest: Quantization;
}

/**
 * Requires that bytes `[byteOffset, byteOffset + length)` lie in a tensor.
 *
 * @throws {RangeError} with the range and the tensor's size.
 */
export function requireRange(
  { name, bytes }: TensorInfo,
  byteOffset: number,
  length: number,
): void {
  const end = byteOffset + length;
  if (Number.isSafeInteger(byteOffset) && byteOffset >= 0 && end <= bytes) return;
  throw new RangeError(
    `Cannot read bytes [${byteOffset}, ${end}) of tensor ${name}: it has ${bytes}`,
  );
}

/** Rows `[begin, end)` of a matrix. */
export interface RowRange {
  readonly begin: number;
  readonly end: number;
}

/**
 * An open checkpoint: its tensors, by the names that Hugging Face checkpoints give them, and their
 * bytes on request. Owns its files until `close()`; nothing is kept in memory but headers.
 */
export interface Checkpoint {
  /** Names of all tensors, in the order of their files. */
  names(): string[];
  /** @throws {StartupError} when the checkpoint has no such tensor. */
  tensor(name: string): TensorInfo;
  /** Path of the file that holds a tensor. @throws {StartupError} when there is no such tensor. */
  fileOf(name: string): string;
  /** SHA-256 of each file's header, hexadecimal, in the files' order. */
  headerDigests(): string[];
  /**
   * Fills `into` with the tensor's bytes `[byteOffset, byteOffset + into.byteLength)`.
   *
   * @throws {RangeError} when the range does not lie in the tensor.
   * @throws {StartupError} when there is no such tensor or its file has been cut short.
   */
  readRange(name: string, byteOffset: number, into: Uint8Array): void;
  /**
   * Rows of a matrix as codes and scales, where the file has exactly these: undefined where they
   * must be computed from the elements.
   *
   * @throws {StartupError} as `readRange`, and for a scale that is not a finite number.
   */
  readGroups(name: string, rows: RowRange, dtype: IntDtype): QuantizedGroups | undefined;
  /**
   * Rows of a matrix whose blocks that format keeps, as device memory has them.
   *
   * @throws {StartupError} as `readGroups`.
   */
  readBlocks(name: string, rows: RowRange, dtype: QuantBlockDtype): PackedRows;
  /** Closes the files; idempotent. */
  close(): void;
}
