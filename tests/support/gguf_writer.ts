import { LittleEndianWriter } from "./little_endian_writer.ts";

/** A metadata value; the format tells integers from floats, so callers do. */
export type Metadata =
  | string
  | boolean
  | { readonly u32: number }
  | { readonly u64: number }
  | { readonly f32: number }
  | { readonly strings: readonly string[] }
  | { readonly bools: readonly boolean[] }
  | { readonly f32s: readonly number[] }
  | { readonly i32s: readonly number[] };

/** A tensor as a header describes it; `shape` has the slowest dimension first. */
export interface GgufEntry {
  readonly name: string;
  readonly shape: readonly number[];
  /** The number of its type. */
  readonly type: number;
  readonly numBytes: number;
}

/** A tensor and its data. */
export interface GgufTensorData {
  readonly shape: readonly number[];
  readonly type: number;
  readonly bytes: Uint8Array;
}

const MAGIC = 0x46554747; // "GGUF", little-endian.
const VERSION = 3;
/** The format's default alignment of each tensor's data. */
export const GGUF_ALIGNMENT = 32;

/** Ids of the types of values that are written. */
const VALUE_TYPE = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9, u64: 10 } as const;

/** Numbers of tensor types. */
export const GGUF_TYPE = {
  ...{ F32: 0, F16: 1, Q4_0: 2, Q4_1: 3, Q5_0: 6, Q5_1: 7, Q8_0: 8, Q2_K: 10, Q3_K: 11, Q4_K: 12 },
  ...{ Q5_K: 13, Q6_K: 14, IQ4_NL: 20, IQ4_XS: 23, BF16: 30, TQ1_0: 34, TQ2_0: 35, MXFP4: 39 },
} as const;

/** Everything before the first tensor's data, whose offsets count from its aligned end. */
export function ggufHeader(
  metadata: Readonly<Record<string, Metadata>>,
  tensors: readonly GgufEntry[],
  alignment = GGUF_ALIGNMENT,
): Uint8Array {
  const out = new LittleEndianWriter();
  const pairs = Object.entries(metadata);
  out.u32(MAGIC).u32(VERSION).u64(tensors.length).u64(pairs.length);
  for (const [key, value] of pairs) {
    out.string(key);
    putValue(out, value);
  }
  let offset = 0;
  for (const { name, shape, type, numBytes } of tensors) {
    out.string(name).u32(shape.length);
    // Fastest dimension first.
    for (const extent of shape.toReversed()) out.u64(extent);
    out.u32(type).u64(offset);
    offset = Math.ceil((offset + numBytes) / alignment) * alignment;
  }
  return out.bytes();
}

/** A whole GGUF file. */
export function ggufFile(
  metadata: Readonly<Record<string, Metadata>>,
  tensors: Readonly<Record<string, GgufTensorData>>,
  alignment = GGUF_ALIGNMENT,
): Uint8Array<ArrayBuffer> {
  const entries = Object.entries(tensors).map(([name, { shape, type, bytes }]) => ({
    ...{ name, shape, type, bytes },
    numBytes: bytes.byteLength,
  }));
  const all = alignment === GGUF_ALIGNMENT
    ? metadata
    : { ...metadata, "general.alignment": { u32: alignment } };
  const pieces = [ggufHeader(all, entries, alignment), ...entries.map(({ bytes }) => bytes)];
  const places: number[] = [];
  let at = 0;
  for (const piece of pieces) {
    places.push(at);
    at = Math.ceil((at + piece.byteLength) / alignment) * alignment;
  }
  const file = new Uint8Array(at);
  pieces.forEach((piece, i) => file.set(piece, places[i]!));
  return file;
}

function putValue(out: LittleEndianWriter, value: Metadata): void {
  if (typeof value === "string") out.u32(VALUE_TYPE.string).string(value);
  else if (typeof value === "boolean") out.u32(VALUE_TYPE.bool).u8(Number(value));
  else if ("u32" in value) out.u32(VALUE_TYPE.u32).u32(value.u32);
  else if ("u64" in value) out.u32(VALUE_TYPE.u64).u64(value.u64);
  else if ("f32" in value) out.u32(VALUE_TYPE.f32).f32(value.f32);
  else if ("strings" in value) {
    putArray(out, VALUE_TYPE.string, value.strings, (each) => out.string(each));
  } else if ("bools" in value) {
    putArray(out, VALUE_TYPE.bool, value.bools, (each) => out.u8(Number(each)));
  } else if ("f32s" in value) {
    putArray(out, VALUE_TYPE.f32, value.f32s, (each) => out.f32(each));
  } else putArray(out, VALUE_TYPE.i32, value.i32s, (each) => out.u32(each));
}

function putArray<T>(
  out: LittleEndianWriter,
  type: number,
  values: readonly T[],
  put: (value: T) => void,
): void {
  out.u32(VALUE_TYPE.array).u32(type).u64(values.length);
  values.forEach(put);
}

const PARTS: Readonly<Record<string, string>> = {
  "input_layernorm": "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "post_attention_layernorm": "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};

/** What GGUF calls a tensor of a Hugging Face Llama. */
export function ggufName(name: string): string {
  if (name === "model.embed_tokens.weight") return "token_embd.weight";
  if (name === "model.norm.weight") return "output_norm.weight";
  const [, layer, part] = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(name) ?? [];
  const known = PARTS[part ?? ""];
  if (known === undefined) throw new TypeError(`Cannot name tensor "${name}" in GGUF`);
  return `blk.${layer}.${known}.weight`;
}

/** Within each head, rows `i` and `i + D/2` become rows `2i` and `2i + 1`. */
export function interleaveRows<T extends Uint16Array | Float32Array>(
  values: T,
  [rows, columns]: readonly number[],
  numHeads: number,
): T {
  const out = values.slice() as T;
  const headDim = rows! / numHeads;
  for (let row = 0; row < rows!; row++) {
    const [head, dim] = [Math.floor(row / headDim), row % headDim];
    const place = dim < headDim / 2 ? 2 * dim : 2 * (dim - headDim / 2) + 1;
    const to = (head * headDim + place) * columns!;
    out.set(values.subarray(row * columns!, (row + 1) * columns!), to);
  }
  return out;
}
