import { assert, assertEquals } from "@std/assert";
import { weightValues } from "../../kernels/weights/weight_dtype.ts";
import type { WeightSpec } from "../../models/model.ts";
import {
  type Quantization,
  type QuantizedDtype,
  quantizedDtype,
} from "../../src/core/weight_format.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { deviceTypes } from "../../src/runner/device_dtypes.ts";
import { quantBlockNotices } from "../../src/runner/load_notices.ts";
import { uploadWeights } from "../../src/runner/upload_weights.ts";
import { decodeToF32 } from "../../src/weights/dtypes.ts";
import { openGgufCheckpoint } from "../../src/weights/gguf/gguf_checkpoint.ts";
import { packRows } from "../../src/weights/pack_rows.ts";
import { quantize } from "../../src/weights/quantize.ts";
import type { Checkpoint, TensorInfo } from "../../src/weights/checkpoint.ts";
import { readTensor } from "../support/read_tensor.ts";
import { blockTensor, smallGguf } from "../weights/gguf/small_gguf.ts";

const LAYER = "model.layers.0";

function spec(
  name: string,
  shapes: readonly (readonly number[])[],
  ...parts: string[]
): WeightSpec {
  return { name, shapes, tensors: parts.map((part) => `${LAYER}.${part}.weight`) };
}

const SPECS = [
  spec(
    "qkv",
    [[32, 32], [16, 32], [16, 32]],
    ...["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
  ),
  spec("o", [[32, 32]], "self_attn.o_proj"),
  spec("k", [[16, 32]], "self_attn.k_proj"),
  spec("gate_up", [[64, 32], [64, 32]], "mlp.gate_proj", "mlp.up_proj"),
  spec("wide", [[2, 256]], "mlp.down_proj"),
];

/** The small Llama's file, whose down projection is in blocks of Q4_K. */
async function withUpload(
  quantization: Quantization | undefined,
  check: (
    uploaded: Awaited<ReturnType<typeof uploadWeights>>,
    checkpoint: Checkpoint,
  ) => void,
): Promise<void> {
  const dir = await Deno.makeTempDir();
  const file = smallGguf({}, { "blk.0.ffn_down.weight": blockTensor([2, 256], "Q4_K") });
  await Deno.writeFile(`${dir}/a.gguf`, file);
  const checkpoint = openGgufCheckpoint(`${dir}/a.gguf`);
  try {
    const options = quantization === undefined ? {} : { quantization };
    check(await uploadWeights(new ReferenceDevice(), checkpoint, SPECS, options), checkpoint);
  } finally {
    checkpoint.close();
    await Deno.remove(dir, { recursive: true });
  }
}

function numbersOf(checkpoint: Checkpoint, { tensors }: WeightSpec): number[] {
  return tensors.flatMap((name) => {
    const { dtype, numElements } = checkpoint.tensor(name);
    const values = new Float32Array(numElements);
    decodeToF32(dtype, readTensor(checkpoint, name), values);
    return [...values];
  });
}

/** What rows of numbers become when they are quantized. */
function quantized(numbers: readonly number[], columns: number, how: Quantization): number[] {
  const dtype = quantizedDtype(how);
  const { codes, scales } = packRows(
    quantize(Float32Array.from(numbers), columns, how),
    columns,
    dtype,
  );
  const buffer = new HostBuffer("alone", codes.byteLength + scales.byteLength);
  buffer.u32.set(codes);
  buffer.u32.set(scales, codes.length);
  return [...weightValues(buffer, dtype, numbers.length / columns, columns)];
}

const withoutSign = (numbers: Iterable<number>) => Array.from(numbers, (number) => number + 0);

Deno.test("blocks are kept, and a stack of several kinds becomes the nearest format of most bits", () =>
  withUpload(undefined, ({ weight }, checkpoint) => {
    const valuesOf = (name: string, rows: number, columns: number) => {
      const { dtype, shards } = weight(name);
      return [...weightValues(shards[0]!.buffer as HostBuffer, dtype, rows, columns)];
    };
    assertEquals(SPECS.map(({ name }) => weight(name).dtype), [
      ...["int8g32", "f32", "int8g32", "int4g32", "q4_k"],
    ]);
    // Codes and scales as the file has them: nothing is rounded.
    assertEquals(
      withoutSign(valuesOf("k", 16, 32)),
      withoutSign(numbersOf(checkpoint, SPECS[2]!)),
    );
    assertEquals(
      withoutSign(valuesOf("gate_up", 128, 32)),
      withoutSign(numbersOf(checkpoint, SPECS[3]!)),
    );
    assertEquals(valuesOf("wide", 2, 256), numbersOf(checkpoint, SPECS[4]!));
    const int8 = { method: "int8", groupSize: 32 } as const;
    const [q, k, v] = SPECS[0]!.tensors.map((tensor) =>
      numbersOf(checkpoint, { ...SPECS[0]!, tensors: [tensor] })
    );
    assertEquals(withoutSign(valuesOf("qkv", 64, 32)), [
      ...withoutSign(quantized(q!, 32, int8)),
      ...withoutSign(k!),
      ...withoutSign(v!),
    ]);
    assertEquals(quantBlockNotices(checkpoint, SPECS, undefined), [
      "Q8_0: 2 matrices are kept in blocks as int8g32, 8.5 bits per weight; --quantization int4 takes " +
      "about half",
      "Q4_0: 1 matrix becomes int8g32, 8.5 bits per weight; --quantization int4 takes about half",
      "Q4_0: 2 matrices are kept in blocks as int4g32, 4.5 bits per weight",
      "Q4_K: 1 matrix is kept in blocks as q4_k, 4.5 bits per weight",
    ]);
  }));

for (const method of ["int8", "int4"] as const) {
  for (const groupSize of [32, 128] as const) {
    const how = { method, groupSize };
    const dtype: QuantizedDtype = quantizedDtype(how);
    Deno.test(`--quantization chooses for all matrices of a GGUF file: ${dtype}`, () =>
      withUpload(how, ({ weight }, checkpoint) => {
        for (const spec of SPECS) assertEquals(weight(spec.name).dtype, dtype);
        const buffer = weight("wide").shards[0]!.buffer as HostBuffer;
        assertEquals(
          [...weightValues(buffer, dtype, 2, 256)],
          quantized(numbersOf(checkpoint, SPECS[4]!), 256, how),
        );
        const notices = quantBlockNotices(checkpoint, SPECS, how);
        assertEquals(notices.length, 3);
        assert(notices.every((notice) => notice.includes(` ${dtype}, `)), notices.join("\n"));
      }));
  }
}

/** What holds a type's blocks. */
const KEPT: Readonly<Record<string, { readonly kept?: QuantizedDtype }>> = {
  ...{ Q4_K: { kept: "q4_k" }, Q6_K: { kept: "q6_k" }, Q8_0: { kept: "int8g32" }, Q5_K: {} },
};

Deno.test("tensors in blocks of several kinds stay apart where a product can take them apart", () => {
  const int8 = { method: "int8", groupSize: 32 } as const;
  const tensor = (kind: "Q4_K" | "Q6_K" | "Q8_0" | "Q5_K" | "F16", rows: number): TensorInfo => ({
    ...{ name: kind, dtype: "F32", shape: [rows, 256], numElements: rows * 256, bytes: 0 },
    ...(kind === "F16" ? {} : { blocks: { name: kind, nearest: int8, ...KEPT[kind] } }),
  });
  const stack = (more: Partial<WeightSpec> = {}) => ({ ...spec("w", [[8, 256]]), ...more });
  const mixed = [tensor("Q4_K", 8), tensor("Q4_K", 4), tensor("Q6_K", 4)];
  assertEquals(deviceTypes(stack(), mixed, undefined), {
    dtype: "q4_k",
    parts: [{ begin: 0, end: 12, dtype: "q4_k" }, { begin: 12, end: 16, dtype: "q6_k" }],
  });
  // The type of the whole says that no product of it has int8 activations.
  assertEquals(deviceTypes(stack(), [tensor("Q8_0", 4), tensor("Q6_K", 4)], undefined), {
    dtype: "q6_k",
    parts: [{ begin: 0, end: 4, dtype: "int8g32" }, { begin: 4, end: 8, dtype: "q6_k" }],
  });
  const nearest = { dtype: "int8g32" } as const;
  assertEquals(deviceTypes(stack({ isGateUp: true }), mixed, undefined), nearest);
  assertEquals(deviceTypes(stack({ numMatrices: 3 }), mixed, undefined), nearest);
  assertEquals(deviceTypes(stack(), [tensor("Q4_K", 4), tensor("Q5_K", 4)], undefined), nearest);
  assertEquals(deviceTypes(stack(), [tensor("Q4_K", 4), tensor("F16", 4)], undefined), nearest);
  assertEquals(deviceTypes(stack(), mixed, { method: "int4", groupSize: 128 }), {
    dtype: "int4g128",
  });
  assertEquals(deviceTypes(stack(), [tensor("Q6_K", 4), tensor("Q6_K", 4)], undefined), {
    dtype: "q6_k",
  });
});
