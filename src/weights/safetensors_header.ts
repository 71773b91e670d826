import { StartupError } from "../core/errors.ts";
import { DTYPE_BYTES, STORED_BYTES, type StoredDtype, type StoredTensor } from "./dtypes.ts";

/** A tensor and where its data lies in its file. */
export interface PlacedTensor {
  readonly info: StoredTensor;
  /** Byte offset from the start of the file. */
  readonly begin: number;
}

/** Bytes before the header's JSON: its length as a little-endian u64. */
export const HEADER_PREFIX_BYTES = 8;

/** Longest header accepted, the limit of the format's own reader. */
const MAX_HEADER_BYTES = 100_000_000;

/** No model has more dimensions; it bounds what one shape can cost. */
const MAX_RANK = 8;

/**
 * Length of the header's JSON, from the file's first bytes.
 *
 * @throws {StartupError} when the file is too short for it, or it exceeds the limit.
 */
export function headerBytes(prefix: Uint8Array, fileBytes: number, file: string): number {
  if (prefix.byteLength < HEADER_PREFIX_BYTES) {
    throw new StartupError(
      `${file} has ${fileBytes} bytes: a safetensors file has at least ${HEADER_PREFIX_BYTES}`,
    );
  }
  const view = new DataView(prefix.buffer, prefix.byteOffset, HEADER_PREFIX_BYTES);
  const length = view.getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new StartupError(
      `${file}: header length is ${length}, over the limit of ${MAX_HEADER_BYTES}`,
    );
  }
  if (HEADER_PREFIX_BYTES + Number(length) > fileBytes) {
    throw new StartupError(
      `${file}: header length is ${length}, but the file has only ${fileBytes} bytes`,
    );
  }
  return Number(length);
}

/**
 * The tensors that a header describes, each checked against the real size of the file, none
 * overlapping another. Gaps between tensors are allowed.
 *
 * @param json the header's bytes, without the length before them.
 * @throws {StartupError} naming file, tensor and what is wrong.
 */
export function parseHeader(
  json: Uint8Array,
  fileBytes: number,
  file: string,
): Map<string, PlacedTensor> {
  const dataStart = HEADER_PREFIX_BYTES + json.byteLength;
  const tensors = new Map<string, PlacedTensor>();
  for (const [name, entry] of Object.entries(parseObject(json, file))) {
    if (name === "__metadata__") continue;
    const where = `${file}: tensor ${JSON.stringify(name)}`;
    const { begin, info } = parseTensor(name, entry, fileBytes - dataStart, where);
    tensors.set(name, { info, begin: dataStart + begin });
  }
  requireNoOverlap(tensors, file);
  return tensors;
}

function parseObject(json: Uint8Array, file: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
  } catch (error) {
    throw new StartupError(`${file}: header is not valid JSON: ${(error as Error).message}`);
  }
  if (!isObject(value)) throw new StartupError(`${file}: header is not a JSON object`);
  return value;
}

function parseTensor(
  name: string,
  entry: unknown,
  dataBytes: number,
  where: string,
): { info: StoredTensor; begin: number } {
  if (!isObject(entry)) throw new StartupError(`${where} is not described by an object`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (!isStoredDtype(dtype, name)) {
    const known = Object.keys(DTYPE_BYTES).join(", ");
    throw new StartupError(`${where} has dtype ${JSON.stringify(dtype)}: known are ${known}`);
  }
  if (!isCounts(shape) || shape.length > MAX_RANK) {
    throw new StartupError(
      `${where} has shape ${show(shape)}: must be at most ${MAX_RANK} non-negative integers`,
    );
  }
  if (!isCounts(offsets) || offsets.length !== 2) {
    throw new StartupError(
      `${where} has data_offsets ${show(offsets)}: must be two non-negative integers`,
    );
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes) {
    throw new StartupError(
      `${where} has data_offsets [${begin}, ${end}): must lie in order within ${dataBytes} bytes of data`,
    );
  }
  const numElements = product(shape);
  if (numElements * STORED_BYTES[dtype] !== end - begin) {
    throw new StartupError(
      `${where} has ${end - begin} bytes, but ${dtype} of shape ${show(shape)} needs ` +
        `${numElements * STORED_BYTES[dtype]}`,
    );
  }
  const info = { name, dtype, shape: Object.freeze([...shape]), numElements, bytes: end - begin };
  return { info: Object.freeze(info), begin };
}

/**
 * Number of elements. A true product beyond 2^53 comes out as a rounded number no smaller than
 * 2^53, which no file's size equals, so rounding cannot let a false shape pass.
 */
function product(shape: readonly number[]): number {
  return shape.reduce((total, extent) => total * extent, 1);
}

function requireNoOverlap(tensors: ReadonlyMap<string, PlacedTensor>, file: string): void {
  const placed = [...tensors.values()].filter(({ info }) => info.bytes > 0);
  placed.sort((a, b) => a.begin - b.begin);
  for (let i = 1; i < placed.length; i++) {
    const before = placed[i - 1]!;
    const after = placed[i]!;
    if (before.begin + before.info.bytes > after.begin) {
      throw new StartupError(
        `${file}: tensors ${JSON.stringify(before.info.name)} and ` +
          `${JSON.stringify(after.info.name)} overlap`,
      );
    }
  }
}

/** Whether a tensor of that name may have the type: bytes are parts of MXFP4 alone. */
function isStoredDtype(value: unknown, name: string): value is StoredDtype {
  if (value === "U8") return /_(blocks|scales)$/.test(name);
  return typeof value === "string" && Object.hasOwn(DTYPE_BYTES, value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** JSON of a value from a header, short enough for one line. */
function show(value: unknown): string {
  return (JSON.stringify(value) ?? "missing").slice(0, 80);
}
