import { invariant } from "../base/invariant.ts";
import { ceilDiv } from "../base/math.ts";
import type { Quantization } from "../core/weight_format.ts";
import type { QuantizedGroups } from "./pack_rows.ts";

/** Largest weight whose scale is certain to fit f16. */
export const MAX_QUANTIZED_MAGNITUDE = 65504;

/**
 * Reciprocals of the scales that are tried for an int4 group, as multiples of its largest weight:
 * that weight lands on code 1, on code 0 or below, where it is clipped, or, with the other sign, on
 * code 15.
 */
const INT4_REACHES = [-7, -7.5, -8, -8.5, -9, 7];

/**
 * Quantizes rows of `columns` weights, each group of inputs for itself, rounding to nearest.
 *
 * int8: the scale is the largest magnitude over 127, rounded up to f16, so that nothing is clipped
 * and each error is at most half the scale. int4: a few scales are tried; for the codes that each
 * gives, the best scale is known in closed form (least squares), and the one of least squared error
 * is kept.
 *
 * Costs some 3 ns (int8) or 15 ns (int4) per weight and one byte each.
 *
 * @throws {RangeError} for a weight that is not finite or above 65,504 in magnitude.
 */
export function quantize(
  values: Float32Array,
  columns: number,
  { method, groupSize }: Quantization,
): QuantizedGroups {
  invariant(values.length % columns === 0, `${values.length} weights in rows of ${columns}`);
  const numRows = values.length / columns;
  const codes = new Uint8Array(values.length);
  const scales = new Float16Array(numRows * ceilDiv(columns, groupSize));
  const quantizeGroup = method === "int8" ? quantizeInt8 : quantizeInt4;
  let group = 0;
  for (let row = 0; row < numRows; row++) {
    for (let column = 0; column < columns; column += groupSize) {
      const begin = row * columns + column;
      const end = row * columns + Math.min(columns, column + groupSize);
      quantizeGroup(values, { begin, end }, codes, scales, group++);
    }
  }
  return { codes, scales };
}

/** Indices `[begin, end)` of one group. */
interface Span {
  readonly begin: number;
  readonly end: number;
}

/** The weight of largest magnitude. */
function peakOf(values: Float32Array, { begin, end }: Span): number {
  let peak = 0;
  for (let i = begin; i < end; i++) {
    const value = values[i]!;
    if (!(Math.abs(value) <= MAX_QUANTIZED_MAGNITUDE)) {
      throw new RangeError(
        `Cannot quantize ${value}: the limit is ${MAX_QUANTIZED_MAGNITUDE} in magnitude`,
      );
    }
    if (Math.abs(value) > Math.abs(peak)) peak = value;
  }
  return peak;
}

function quantizeInt8(
  values: Float32Array,
  span: Span,
  codes: Uint8Array,
  scales: Float16Array,
  group: number,
): void {
  const exact = Math.abs(peakOf(values, span)) / 127;
  scales[group] = exact;
  if (scales[group]! < exact) roundUp(scales, group);
  const inverse = exact === 0 ? 0 : 1 / scales[group]!;
  // Truncating what is not negative rounds as Math.round() does, several times as fast.
  for (let i = span.begin; i < span.end; i++) codes[i] = ((values[i]! * inverse + 127.5) | 0) - 127;
}

/** The next f16 above a number that is not negative. */
function roundUp(halves: Float16Array, at: number): void {
  new Uint16Array(halves.buffer, halves.byteOffset, halves.length)[at]!++;
}

function quantizeInt4(
  values: Float32Array,
  span: Span,
  codes: Uint8Array,
  scales: Float16Array,
  group: number,
): void {
  const peak = peakOf(values, span);
  scales[group] = peak === 0 ? 0 : bestInt4Scale(values, span, peak);
  // Rounded to f16, the scale may be 0: all weights are then within half of the smallest one.
  const scale = scales[group]!;
  const inverse = scale === 0 ? 0 : 1 / scale;
  for (let i = span.begin; i < span.end; i++) codes[i] = int4Code(values[i]! * inverse);
}

/**
 * With codes c (signed), the scale s that minimizes the sum of (w - s c)^2 is sum(w c) / sum(c^2),
 * and leaves sum(w^2) - sum(w c)^2 / sum(c^2): the codes that make the last term largest are best.
 */
function bestInt4Scale(values: Float32Array, { begin, end }: Span, peak: number): number {
  let best = 0;
  let explained = -1;
  for (const reach of INT4_REACHES) {
    const inverse = reach / peak;
    let products = 0;
    let squares = 0;
    for (let i = begin; i < end; i++) {
      const code = int4Code(values[i]! * inverse) - 8;
      products += values[i]! * code;
      squares += code * code;
    }
    if (products * products <= explained * squares) continue;
    explained = products * products / squares;
    best = products / squares;
  }
  return best;
}

/** The code in [0, 15] nearest to a multiple of the scale. */
function int4Code(multiple: number): number {
  const code = (multiple + 8.5) | 0;
  return code < 0 ? 0 : code > 15 ? 15 : code;
}
