import { invariant } from "../base/invariant.ts";
import { QUANT_BLOCK_SIZE, quantizedLayout } from "../core/weight_format.ts";
import type { PackedRows } from "./pack_rows.ts";
import { MAX_QUANTIZED_MAGNITUDE } from "./quantize.ts";

/** Inputs of a group, which has a scale and a minimum. */
const GROUP = 32;
const GROUPS = QUANT_BLOCK_SIZE / GROUP;
/** The largest scale or minimum of a group, in units of its block. */
const MOST = 63;

/**
 * Which codes, before they are rounded and cut off, a group's smallest and its largest weight get
 * at first.
 */
const FIRST_CODES = [[-0.1, 15.1], [-0.8, 15.1], [-0.1, 15.8]] as const;

/**
 * Quantizes rows of `columns` weights, a multiple of 32, to q4_k: codes of four bits with a scale
 * and a minimum per group of 32 inputs, each a whole number of units of its block of 256.
 *
 * Of a group's codes, the scale and the minimum of least squared error are those of a straight line
 * through its weights (least squares); those of a few first codes are tried, and the best of them
 * fitted once more. Scales and minima are then rounded to units, and the codes are made anew.
 *
 * Costs some 25 ns per weight and two bytes each.
 *
 * @throws {RangeError} for a weight that is not finite or above 65,504 in magnitude.
 */
export function quantizeBlocks(values: Float32Array, columns: number): PackedRows {
  invariant(columns % GROUP === 0, `rows of ${columns} weights are no whole groups of ${GROUP}`);
  const numRows = values.length / columns;
  const { rowWords, scaleRowWords } = quantizedLayout("q4_k", numRows, columns);
  const packed = {
    codes: new Uint32Array(numRows * rowWords),
    scales: new Uint32Array(numRows * scaleRowWords),
  };
  const lines = Array.from({ length: GROUPS }, (): Line => ({ scale: 0, minimum: 0 }));
  for (let row = 0; row < numRows; row++) {
    for (let column = 0; column < columns; column += QUANT_BLOCK_SIZE) {
      const first = row * columns + column;
      const numGroups = Math.min(QUANT_BLOCK_SIZE, columns - column) / GROUP;
      const at = row * scaleRowWords + column / QUANT_BLOCK_SIZE * 4;
      quantizeBlock(values, { first, numGroups }, lines, packed, at);
    }
  }
  return packed;
}

/** A group's weights are about `scale * code - minimum`; neither is negative. */
interface Line {
  scale: number;
  minimum: number;
}

/** Writes the codes of one block, and its scales from word `at` on. */
function quantizeBlock(
  values: Float32Array,
  { first, numGroups }: { first: number; numGroups: number },
  lines: readonly Line[],
  { codes, scales }: PackedRows,
  at: number,
): void {
  let [scale, minimum] = [0, 0];
  for (let group = 0; group < numGroups; group++) {
    const line = lines[group]!;
    fitLine(values, first + group * GROUP, line);
    scale = Math.max(scale, line.scale);
    minimum = Math.max(minimum, line.minimum);
  }
  const units = new Float16Array([scale / MOST, minimum / MOST]);
  const [unit, unitOfMinima] = units;
  scales[at] = new Uint32Array(units.buffer)[0]!;
  for (let group = 0; group < numGroups; group++) {
    const place = first + group * GROUP;
    const line = lines[group]!;
    const scaleCode = inUnits(line.scale, unit!);
    line.scale = scaleCode * unit!;
    line.minimum = inUnits(line.minimum, unitOfMinima!) * unitOfMinima!;
    const minimumCode = inUnits(bestMinimum(values, place, line), unitOfMinima!);
    line.minimum = minimumCode * unitOfMinima!;
    writeCodes(values, place, line, codes);
    const bit = 4 * group;
    scales[at + 1]! |= (scaleCode & 15) << bit;
    scales[at + 2]! |= (minimumCode & 15) << bit;
    scales[at + 3]! |= (scaleCode >> 4 | minimumCode >> 4 << 2) << bit;
  }
}

function inUnits(value: number, unit: number): number {
  return unit === 0 ? 0 : Math.max(0, Math.min(MOST, Math.round(value / unit)));
}

/** The sums over a group by which its line is fitted. */
interface Sums {
  weights: number;
  squares: number;
  codes: number;
  codeSquares: number;
  products: number;
}

const SUMS: Sums = { weights: 0, squares: 0, codes: 0, codeSquares: 0, products: 0 };

/** The line of least squared error among those that a few first codes give. */
function fitLine(values: Float32Array, at: number, best: Line): void {
  let [low, high] = [0, -Infinity];
  let [weights, squares] = [0, 0];
  for (let i = at; i < at + GROUP; i++) {
    const value = values[i]!;
    if (!(Math.abs(value) <= MAX_QUANTIZED_MAGNITUDE)) {
      throw new RangeError(
        `Cannot quantize ${value}: the limit is ${MAX_QUANTIZED_MAGNITUDE} in magnitude`,
      );
    }
    if (value < low) low = value;
    if (value > high) high = value;
    weights += value;
    squares += value * value;
  }
  best.scale = 0;
  best.minimum = -low;
  if (!(high > low)) return;
  SUMS.weights = weights;
  SUMS.squares = squares;
  let least = Infinity;
  const line = { scale: 0, minimum: 0 };
  for (const [from, to] of FIRST_CODES) {
    line.scale = (high - low) / (to - from);
    line.minimum = from * line.scale - low;
    const error = refit(values, at, line);
    if (!(error < least)) continue;
    least = error;
    best.scale = line.scale;
    best.minimum = line.minimum;
  }
  refit(values, at, best);
}

/** Replaces a line by that of least squared error for the codes it gives; returns the error. */
function refit(values: Float32Array, at: number, line: Line): number {
  const inverse = 1 / line.scale;
  const offset = line.minimum * inverse + 0.5;
  let [sum, sumOfSquares, products] = [0, 0, 0];
  for (let i = at; i < at + GROUP; i++) {
    const value = values[i]!;
    const rounded = (value * inverse + offset) | 0;
    const code = rounded < 0 ? 0 : rounded > 15 ? 15 : rounded;
    sum += code;
    sumOfSquares += code * code;
    products += value * code;
  }
  const { weights, squares } = SUMS;
  const spread = GROUP * sumOfSquares - sum * sum;
  let scale = spread > 0 ? (GROUP * products - weights * sum) / spread : 0;
  let minimum = (scale * sum - weights) / GROUP;
  if (minimum < 0 && sumOfSquares > 0) [scale, minimum] = [products / sumOfSquares, 0];
  if (!(scale > 0) || !(minimum >= 0)) return Infinity;
  line.scale = scale;
  line.minimum = minimum;
  return squares - 2 * scale * products + 2 * minimum * weights + scale * scale * sumOfSquares -
    2 * scale * minimum * sum + GROUP * minimum * minimum;
}

/** The minimum of least squared error for the codes that a line gives. */
function bestMinimum(values: Float32Array, at: number, { scale, minimum }: Line): number {
  if (scale === 0) return minimum;
  const inverse = 1 / scale;
  const offset = minimum * inverse + 0.5;
  let sum = 0;
  for (let i = at; i < at + GROUP; i++) {
    sum += scale * codeOf(values[i]!, inverse, offset) - values[i]!;
  }
  return sum / GROUP;
}

function writeCodes(
  values: Float32Array,
  at: number,
  { scale, minimum }: Line,
  codes: Uint32Array,
): void {
  const inverse = scale === 0 ? 0 : 1 / scale;
  const offset = minimum * inverse + 0.5;
  for (let word = 0; word < GROUP / 8; word++) {
    let bits = 0;
    for (let i = 0; i < 4; i++) {
      const low = codeOf(values[at + 8 * word + i]!, inverse, offset);
      const high = codeOf(values[at + 8 * word + 4 + i]!, inverse, offset);
      bits |= (low | high << 4) << 8 * i;
    }
    codes[at / 8 + word] = bits;
  }
}

function codeOf(value: number, inverse: number, offset: number): number {
  const code = (value * inverse + offset) | 0;
  return code < 0 ? 0 : code > 15 ? 15 : code;
}
