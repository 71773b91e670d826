import { assert, assertEquals, assertRejects } from "@std/assert";
import { weightValues } from "../../kernels/weight_dtype.ts";
import { StartupError } from "../../src/core/errors.ts";
import { matrixBytes, type Quantization, quantizedDtype } from "../../src/core/weight_format.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { uploadWeights } from "../../src/runner/upload_weights.ts";
import { packRows } from "../../src/weights/pack_rows.ts";
import { quantize } from "../../src/weights/quantize.ts";
import { openWeights } from "../../src/weights/safetensors.ts";
import { noise } from "../support/agreement.ts";
import { safetensorsFile, type TensorFixture } from "../weights/checkpoint_files.ts";

function f32Tensor(shape: readonly number[], values: Float32Array<ArrayBuffer>): TensorFixture {
  return { dtype: "F32", shape, bytes: new Uint8Array(values.buffer) };
}

/** Uploads specs of a checkpoint with these tensors to the reference device. */
async function upload(
  tensors: Record<string, TensorFixture>,
  specs: Readonly<Record<string, readonly string[]>>,
  options: Parameters<typeof uploadWeights>[3],
) {
  const dir = await Deno.makeTempDir({ prefix: "quire-weights-" });
  await Deno.writeFile(`${dir}/model.safetensors`, safetensorsFile(tensors));
  const checkpoint = openWeights(dir);
  try {
    const stacked = Object.entries(specs).map(([name, names]) => ({
      name,
      tensors: names,
      shapes: names.map((tensor) => tensors[tensor]!.shape),
    }));
    return await uploadWeights(new ReferenceDevice(), checkpoint, stacked, options);
  } finally {
    checkpoint.close();
    await Deno.remove(dir, { recursive: true });
  }
}

const A = noise(5 * 36, 1);
const B = noise(3 * 36, 2);
const NORM = noise(36, 3);
const TENSORS = {
  a: f32Tensor([5, 36], A),
  b: { dtype: "BF16", shape: [3, 36], bytes: bf16Bytes(B) },
  norm: f32Tensor([36], NORM),
};

function bf16Bytes(values: Float32Array): Uint8Array {
  const halves = Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16);
  return new Uint8Array(halves.buffer);
}

/** What the definition of the format makes of these rows, quantized alone. */
function quantizedAlone(values: Float32Array, columns: number, how: Quantization): Float32Array {
  const dtype = quantizedDtype(how);
  const { codes, scales } = packRows(quantize(values, columns, how), columns, dtype);
  const buffer = new HostBuffer("alone", codes.byteLength + scales.byteLength);
  buffer.u32.set(codes);
  buffer.u32.set(scales, codes.length);
  return weightValues(buffer, dtype, values.length / columns, columns);
}

for (const method of ["int8", "int4"] as const) {
  for (const groupSize of [32, 128] as const) {
    const quantization = { method, groupSize };
    const dtype = quantizedDtype(quantization);
    Deno.test(`uploadWeights() stacks quantized matrices and keeps vectors in f32: ${dtype}`, async () => {
      const specs = { ab: ["a", "b"], norm: ["norm"] };
      const { weight, bytes, numParameters } = await upload(TENSORS, specs, { quantization });
      const widened = Float32Array.from(B, (value) => bf16(value));
      assertEquals(weight("ab").dtype, dtype);
      assertEquals(
        [...weightValues(weight("ab").parts[0]!.buffer as HostBuffer, dtype, 8, 36)],
        [A, widened].flatMap((values) => [...quantizedAlone(values, 36, quantization)]),
      );
      assertEquals(weight("norm").dtype, "f32");
      assertEquals((weight("norm").parts[0]!.buffer as HostBuffer).f32, NORM);
      assertEquals([bytes, numParameters], [matrixBytes(dtype, 8, 36) + 4 * 36, 9 * 36]);
    });
  }
}

function bf16(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer);
  bits[0]! &= 0xffff0000;
  return new Float32Array(bits.buffer)[0]!;
}

Deno.test("uploadWeights() quantizes a matrix of several pieces as if it were one, and tells how far it is", async () => {
  const quantization = { method: "int8", groupSize: 32 } as const;
  const [rows, columns] = [3, 2 ** 21];
  const values = new Float32Array(rows * columns);
  const pattern = noise(4093, 5);
  for (let i = 0; i < values.length; i++) values[i] = pattern[i % 4093]!;
  const shares: number[] = [];
  const { weight } = await upload({ w: f32Tensor([rows, columns], values) }, { w: ["w"] }, {
    quantization,
    onProgress: (share) => shares.push(share),
  });
  const { codes, scales } = packRows(quantize(values, columns, quantization), columns, "int8g32");
  const { u32 } = weight("w").parts[0]!.buffer as HostBuffer;
  const isWhole = codes.every((word, i) => word === u32[i]) &&
    scales.every((word, i) => word === u32[codes.length + i]);
  assert(isWhole, "pieces differ from the whole");
  assertEquals(shares, [2 / 3, 1]);
});

Deno.test("uploadWeights() names the tensor that cannot be quantized", async () => {
  const broken = f32Tensor([1, 36], new Float32Array(36).fill(NaN));
  const error = await assertRejects(
    () =>
      upload({ a: TENSORS.a, broken }, { both: ["a", "broken"] }, {
        quantization: { method: "int4", groupSize: 32 },
      }),
    StartupError,
  );
  assertEquals(
    error.message,
    'Tensor "broken": Cannot quantize NaN: the limit is 65504 in magnitude',
  );
});
