import type { WeightShard } from "../../kernels/weights/weight_shards.ts";
import type { DeviceWeight, WeightSpec } from "../../models/model.ts";
import { invariant } from "../base/invariant.ts";
import { alignDown, ceilDiv } from "../base/math.ts";
import { omitUndefined } from "../base/omit_undefined.ts";
import { matrixBytes, type WeightDtype } from "../core/weight_format.ts";
import type { Device } from "../device/device.ts";

/**
 * A weight as products see it; vectors, one after the other, are one output of one row, and of
 * several matrices below each other each is an output.
 */
export interface WeightShape {
  readonly name: string;
  readonly numOutputs: number;
  /** Rows of the matrix behind each output: 1, or a gate and its up, or those of an expert. */
  readonly rowsPerOutput: number;
  readonly columns: number;
}

/** Whether a spec's tensors are f32 vectors, one after the other, and no rows of a matrix. */
export function isVector({ shapes, isVector }: WeightSpec): boolean {
  return isVector ?? shapes[0]!.length < 2;
}

/** The shape of a spec's tensors, stacked. */
export function weightShape(spec: WeightSpec): WeightShape {
  const { name, shapes, isGateUp = false, numMatrices } = spec;
  const numElements = shapes.reduce((sum, shape) => sum + shape.reduce((a, b) => a * b), 0);
  if (isVector(spec)) {
    return { name, numOutputs: 1, rowsPerOutput: 1, columns: numElements };
  }
  const columns = shapes[0]!.at(-1)!;
  const rows = numElements / columns;
  const rowsPerOutput = numMatrices === undefined ? isGateUp ? 2 : 1 : rows / numMatrices;
  invariant(
    Number.isInteger(rowsPerOutput) && rows % rowsPerOutput === 0,
    `${name} has ${rows} rows, which are no pairs or equal matrices`,
  );
  return { name, numOutputs: rows / rowsPerOutput, rowsPerOutput, columns };
}

/** Buffers begin and end at multiples of this. */
const BUFFER_ALIGNMENT = 16;

/**
 * Cuts a weight into the fewest shards of at most `maxBytes`, about equal in size: ranges
 * `[begin, end)` of outputs, in order.
 *
 * @throws {RangeError} when one output alone is larger.
 */
export function cutOutputs(
  { name, numOutputs, rowsPerOutput, columns }: WeightShape,
  dtype: WeightDtype,
  maxBytes: number,
): Pick<WeightShard, "begin" | "end">[] {
  // Every format takes so many bytes per row, its scales included, wherever the row lies.
  const outputBytes = matrixBytes(dtype, rowsPerOutput, columns);
  const most = Math.floor(alignDown(maxBytes, BUFFER_ALIGNMENT) / outputBytes);
  if (most < 1) {
    throw new RangeError(
      `${name} cannot be cut: one output (${rowsPerOutput} x ${columns} in ${dtype}) needs ` +
        `${outputBytes} bytes, but this device binds at most ${maxBytes}`,
    );
  }
  const each = ceilDiv(numOutputs, ceilDiv(numOutputs, most));
  return Array.from({ length: ceilDiv(numOutputs, each) }, (_, i) => ({
    begin: i * each,
    end: Math.min((i + 1) * each, numOutputs),
  }));
}

/** Outputs `[begin, end)` of a weight, all of one type. */
export type WeightPart = Pick<WeightShard, "begin" | "end"> & Readonly<{ dtype: WeightDtype }>;

/** A buffer of a weight before it exists. */
export interface PlannedShard extends WeightPart {
  readonly rows: number;
  readonly columns: number;
  readonly bytes: number;
}

/**
 * The buffers of a weight, several where the device cannot bind it whole, or where its parts, in
 * order, have types of their own.
 *
 * @throws {RangeError} as {@link cutOutputs}.
 */
export function planShards(
  spec: WeightSpec,
  { dtype, parts }: { readonly dtype: WeightDtype; readonly parts?: readonly WeightPart[] },
  maxBindingBytes: number,
): PlannedShard[] {
  const shape = weightShape(spec);
  const { columns, rowsPerOutput } = shape;
  return (parts ?? [{ begin: 0, end: shape.numOutputs, dtype }]).flatMap((part) =>
    cutPart(shape, part, maxBindingBytes).map(({ begin, end }) => {
      const rows = (end - begin) * rowsPerOutput;
      const bytes = matrixBytes(part.dtype, rows, columns);
      return { begin, end, dtype: part.dtype, rows, columns, bytes };
    })
  );
}

/**
 * Allocates the buffers of a weight, several where the device cannot bind it whole, or where its
 * parts, in order, have types of their own.
 *
 * @throws {RangeError} naming the weight when the device has no room; no buffer is kept.
 */
export async function createWeight(
  device: Device,
  spec: WeightSpec,
  dtype: WeightDtype,
  parts?: readonly WeightPart[],
): Promise<DeviceWeight> {
  const types = { dtype, ...omitUndefined({ parts }) };
  const planned = planShards(spec, types, device.maxBindingBytes);
  const shards: WeightShard[] = [];
  try {
    for (const { begin, end, bytes, dtype } of planned) {
      const label = planned.length === 1 ? spec.name : `${spec.name} [${begin}, ${end})`;
      const buffer = await device.createBuffer(label, bytes);
      shards.push({ buffer, begin, end, ...(parts === undefined ? {} : { dtype }) });
    }
  } catch (error) {
    for (const { buffer } of shards) device.destroyBuffer(buffer);
    throw error;
  }
  return { dtype, shards };
}

/** The shards of one part of a weight. */
function cutPart(
  shape: WeightShape,
  { begin, end, dtype }: WeightPart,
  maxBytes: number,
): Pick<WeightShard, "begin" | "end">[] {
  return cutOutputs({ ...shape, numOutputs: end - begin }, dtype, maxBytes)
    .map((shard) => ({ begin: begin + shard.begin, end: begin + shard.end }));
}

/** Bytes of a weight on its device. */
export function weightBytes({ shards }: DeviceWeight): number {
  return shards.reduce((sum, { buffer }) => sum + buffer.bytes, 0);
}
