import { invariant } from "../base/invariant.ts";
import { DTYPE_BYTES } from "./dtypes.ts";
import { type Checkpoint, requireRange, type TensorInfo } from "./checkpoint.ts";

/**
 * A checkpoint whose tensors are read with their last two dimensions exchanged: [.., K, N] as
 * [.., N, K], matrix by matrix. Closing it closes the checkpoint.
 *
 * One matrix is in memory at a time, twice while it is turned; read rows in order.
 */
export function transposed(checkpoint: Checkpoint): Checkpoint {
  let held: { readonly name: string; readonly index: number; readonly bytes: Uint8Array };

  /** Matrix `index` of a tensor, transposed. */
  function matrix(name: string, index: number): Uint8Array {
    if (held?.name === name && held.index === index) return held.bytes;
    const { shape, dtype } = checkpoint.tensor(name);
    const [rows, columns] = shape.slice(-2) as [number, number];
    const raw = new Uint8Array(rows * columns * DTYPE_BYTES[dtype]);
    checkpoint.readRange(name, index * raw.byteLength, raw);
    held = { name, index, bytes: turned(raw, { rows, columns, width: DTYPE_BYTES[dtype] }) };
    return held.bytes;
  }

  return {
    names: () => checkpoint.names(),
    tensor: (name) => turnedInfo(checkpoint.tensor(name)),
    fileOf: (name) => checkpoint.fileOf(name),
    headerDigests: () => checkpoint.headerDigests(),
    readGroups: () => undefined,
    readBlocks(name) {
      throw new TypeError(`${name} is read transposed, and blocks are not`);
    },
    close: () => checkpoint.close(),
    readRange(name, byteOffset, into) {
      const info = checkpoint.tensor(name);
      requireRange(info, byteOffset, into.byteLength);
      const { shape, dtype } = info;
      const end = byteOffset + into.byteLength;
      const size = shape.at(-1)! * shape.at(-2)! * DTYPE_BYTES[dtype];
      for (let at = byteOffset; at < end;) {
        const begin = at % size;
        const taken = Math.min(size - begin, end - at);
        const from = matrix(name, Math.floor(at / size));
        into.set(from.subarray(begin, begin + taken), at - byteOffset);
        at += taken;
      }
    },
  };
}

function turnedInfo(info: TensorInfo): TensorInfo {
  const { shape } = info;
  if (shape.length < 2) return info;
  const { blocks, ...rest } = info;
  return {
    ...rest,
    shape: [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!],
    ...(blocks === undefined ? {} : { blocks: { name: blocks.name, nearest: blocks.nearest } }),
  };
}

/** Elements of `width` bytes of a matrix, columns first. */
function turned(
  raw: Uint8Array<ArrayBuffer>,
  { rows, columns, width }: { rows: number; columns: number; width: number },
): Uint8Array {
  invariant(width === 2 || width === 4, `elements of ${width} bytes`);
  const from = width === 2 ? new Uint16Array(raw.buffer) : new Uint32Array(raw.buffer);
  const to = width === 2 ? new Uint16Array(from.length) : new Uint32Array(from.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      to[column * rows + row] = from[row * columns + column]!;
    }
  }
  return new Uint8Array(to.buffer);
}
