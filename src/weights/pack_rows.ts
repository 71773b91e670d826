import { ceilDiv } from "../base/math.ts";
import { type IntDtype, quantizedFormat, quantizedLayout } from "../core/weight_format.ts";

/** Rows of quantized weights before they are packed. */
export interface QuantizedGroups {
  /**
   * One byte per weight, row by row, as `QuantizedLayout` numbers them; int8 in two's complement.
   */
  readonly codes: Uint8Array;
  /** One per group, row by row. */
  readonly scales: Float16Array;
}

/** Packed rows of codes and of scales, for the two regions of `QuantizedLayout`. */
export interface PackedRows {
  readonly codes: Uint32Array<ArrayBuffer>;
  readonly scales: Uint32Array<ArrayBuffer>;
}

/** Packs rows of `columns` weights as a matrix has them in device memory. */
export function packRows(
  groups: QuantizedGroups,
  columns: number,
  dtype: IntDtype,
): PackedRows {
  const format = quantizedFormat(dtype);
  const numRows = groups.codes.length / columns;
  const { rowWords, scaleRowWords } = quantizedLayout(dtype, numRows, columns);
  const codes = new Uint32Array(numRows * rowWords);
  const scales = new Uint32Array(numRows * scaleRowWords);
  const bytes = new Uint8Array(codes.buffer);
  const halves = new Float16Array(scales.buffer);
  const groupsPerRow = ceilDiv(columns, format.groupSize);
  for (let row = 0; row < numRows; row++) {
    const source = groups.codes.subarray(row * columns, (row + 1) * columns);
    if (format.bits === 8) bytes.set(source, row * 4 * rowWords);
    else packNibbles(source, bytes.subarray(row * 4 * rowWords));
    const firstGroup = row * groupsPerRow;
    halves.set(
      groups.scales.subarray(firstGroup, firstGroup + groupsPerRow),
      row * 2 * scaleRowWords,
    );
  }
  return { codes, scales };
}

/** Eight codes to four bytes: codes j and j + 4 in the halves of byte j. */
function packNibbles(codes: Uint8Array, bytes: Uint8Array): void {
  for (let i = 0; i < codes.length; i += 8) {
    for (let j = 0; j < 4; j++) {
      // Past the row's end there is nothing to read, and a byte array writes undefined as 0.
      bytes[i / 2 + j] = codes[i + j]! | (codes[i + j + 4]! << 4);
    }
  }
}
