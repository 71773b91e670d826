import { assert, assertEquals, assertRejects } from "@std/assert";
import { weightValues } from "../../kernels/weights/weight_dtype.ts";
import { StartupError } from "../../src/core/errors.ts";
import {
  DEFAULT_QUANTIZATIONS,
  matrixBytes,
  type Quantization,
  quantizedDtype,
} from "../../src/core/weight_format.ts";
import type { Device } from "../../src/device/device.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { fallbackNotices } from "../../src/runner/load_notices.ts";
import { uploadWeights } from "../../src/runner/upload_weights.ts";
import { packRows } from "../../src/weights/pack_rows.ts";
import { quantize } from "../../src/weights/quantize.ts";
import { quantizeBlocks } from "../../src/weights/quantize_blocks.ts";
import { openSafetensors } from "../../src/weights/safetensors.ts";
import type { DeviceWeight, WeightSpec } from "../../models/model.ts";
import { noise } from "../support/agreement.ts";
import { BoundedDevice } from "../support/bounded_device.ts";
import { safetensorsFile, type TensorFixture } from "../weights/checkpoint_files.ts";

function f32Tensor(shape: readonly number[], values: Float32Array<ArrayBuffer>): TensorFixture {
  return { dtype: "F32", shape, bytes: new Uint8Array(values.buffer) };
}

/** Uploads specs of a checkpoint with these tensors to the reference device. */
async function upload(
  tensors: Record<string, TensorFixture>,
  specs: Readonly<Record<string, readonly string[]>>,
  options: Parameters<typeof uploadWeights>[3],
  { device = new ReferenceDevice(), ...fields }:
    & { device?: Device }
    & Pick<WeightSpec, "isGateUp" | "addend" | "numMatrices" | "keepsType" | "isVocabulary"> = {},
) {
  const dir = await Deno.makeTempDir({ prefix: "quire-weights-" });
  await Deno.writeFile(`${dir}/model.safetensors`, safetensorsFile(tensors));
  const checkpoint = openSafetensors(dir);
  try {
    const stacked = Object.entries(specs).map(([name, names]) => ({
      name,
      tensors: names,
      shapes: names.map((tensor) => tensors[tensor]!.shape),
      ...fields,
    }));
    return await uploadWeights(device, checkpoint, stacked, options);
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
        [...weightValues(weight("ab").shards[0]!.buffer as HostBuffer, dtype, 8, 36)],
        [A, widened].flatMap((values) => [...quantizedAlone(values, 36, quantization)]),
      );
      assertEquals(weight("norm").dtype, "f32");
      assertEquals((weight("norm").shards[0]!.buffer as HostBuffer).f32, NORM);
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
  const { u32 } = weight("w").shards[0]!.buffer as HostBuffer;
  const isWhole = codes.every((word, i) => word === u32[i]) &&
    scales.every((word, i) => word === u32[codes.length + i]);
  assert(isWhole, "pieces differ from the whole");
  assertEquals(shares, [2 / 3, 1]);
});

Deno.test("uploadWeights() adds to vectors what their spec says, and to no matrix", async () => {
  // Of another length: vectors lie one after the other.
  const few = NORM.slice(0, 20);
  const short = { dtype: "BF16", shape: [20], bytes: bf16Bytes(few) };
  const tensors = { ...TENSORS, short };
  const device = new ReferenceDevice();
  const { weight } = await upload(tensors, { norms: ["norm", "short"] }, {}, { device, addend: 1 });
  const { dtype, shards } = weight("norms");
  assertEquals(dtype, "f32");
  const bytes = await device.read(shards[0]!.buffer, 0, shards[0]!.buffer.bytes);
  const expected = [...NORM, ...few.map(bf16)].map((value) => Math.fround(value + 1));
  assertEquals([...new Float32Array(bytes.buffer).subarray(0, 56)], expected);
  await assertRejects(
    () => upload(tensors, { m: ["a"] }, {}, { addend: 1 }),
    Error,
    "is no vector",
  );
});

Deno.test("uploadWeights() names the tensor that cannot be quantized", async () => {
  const values = new Float32Array(2 * 36);
  values[41] = -70000;
  const broken = f32Tensor([2, 36], values);
  const error = await assertRejects(
    () =>
      upload({ a: TENSORS.a, broken }, { both: ["a", "broken"] }, {
        quantization: { method: "int4", groupSize: 32 },
      }),
    StartupError,
  );
  assertEquals(
    error.message.replace(/^\/.*\//, ""),
    'model.safetensors: tensor "broken" at index 41: Cannot quantize -70000: the limit is 65504 in ' +
      "magnitude",
  );
});

Deno.test("uploadWeights() names the weight that is no finite number, whatever becomes of its tensor", async () => {
  const bits = { F32: 0x7fc00000, F16: 0xfc00, BF16: 0x7f80 } as const;
  const values = { F32: "NaN", F16: "-Infinity", BF16: "Infinity" } as const;
  for (const dtype of ["F32", "F16", "BF16"] as const) {
    const elements = dtype === "F32" ? new Uint32Array(8 * 36) : new Uint16Array(8 * 36);
    elements[5 * 36 + 7] = bits[dtype];
    const bytes = new Uint8Array(elements.buffer);
    const matrix = { dtype, shape: [8, 36], bytes };
    const vector = { dtype, shape: [288], bytes };
    const bounded = { device: new BoundedDevice(new ReferenceDevice(), 4 * 36 * 4) };
    const quantizations = [{ method: "int8", groupSize: 32 }, { method: "int4", groupSize: 32 }];
    const attempts: (readonly [TensorFixture, () => Promise<unknown>])[] = [
      [matrix, () => upload({ w: matrix }, { w: ["w"] }, {})],
      [matrix, () => upload({ w: matrix }, { w: ["w"] }, {}, bounded)],
      [matrix, () => upload({ a: TENSORS.a, w: matrix }, { both: ["a", "w"] }, {})],
      [vector, () => upload({ w: vector }, { w: ["w"] }, {})],
      ...quantizations.map((quantization) =>
        [
          matrix,
          () => upload({ w: matrix }, { w: ["w"] }, { quantization: quantization as Quantization }),
        ] as const
      ),
    ];
    for (const [{ shape }, attempt] of attempts) {
      const error = await assertRejects(attempt, StartupError);
      assertEquals(
        error.message.replace(/^\/.*\//, ""),
        `model.safetensors: tensor "w" has ${values[dtype]} at index 187 of shape ` +
          `[${shape.join(", ")}]: weights must be finite numbers`,
      );
    }
  }
});

/** The rows of a weight's shards one below the other, decoded. */
function rowsOf(
  { shards, dtype }: DeviceWeight,
  rowsPerOutput: number,
  columns: number,
): number[][] {
  return shards.flatMap(({ buffer, begin, end }) => {
    const numRows = (end - begin) * rowsPerOutput;
    const values = weightValues(buffer as HostBuffer, dtype, numRows, columns);
    return Array.from({ length: numRows }, (_, row) => [
      ...values.subarray(row * columns, (row + 1) * columns),
    ]);
  });
}

const COLUMNS = 36;
/** Three tensors of 5, 4 and 4 rows, of one type and of two. */
const MIXED = {
  a: TENSORS.a,
  c: f32Tensor([4, COLUMNS], noise(4 * COLUMNS, 7)),
  d: { dtype: "BF16", shape: [4, COLUMNS], bytes: bf16Bytes(noise(4 * COLUMNS, 8)) },
};
const ALIKE = { c: MIXED.c, e: f32Tensor([4, COLUMNS], noise(4 * COLUMNS, 9)) };
const HALVES = {
  d: MIXED.d,
  f: { dtype: "BF16", shape: [4, COLUMNS], bytes: bf16Bytes(noise(4 * COLUMNS, 10)) },
};
const FORMATS = [undefined, { method: "int8", groupSize: 32 }, { method: "int4", groupSize: 32 }];

for (const [name, tensors] of Object.entries({ MIXED, ALIKE, HALVES })) {
  for (const quantization of FORMATS as readonly (Quantization | undefined)[]) {
    const how = quantization?.method ?? "as stored";
    Deno.test(`uploadWeights() cuts what cannot be bound, every row in place: ${name} ${how}`, async () => {
      const specs = { w: Object.keys(tensors) };
      const options = quantization === undefined ? {} : { quantization };
      const whole = await upload(tensors, specs, options);
      const expected = rowsOf(whole.weight("w"), 1, COLUMNS);
      // Rows of 2, 3 and 5 to a part: cuts at, before and after a tensor's end.
      for (const rows of [2, 3, 5]) {
        const bytes = matrixBytes(whole.weight("w").dtype, rows, COLUMNS);
        const device = new BoundedDevice(new ReferenceDevice(), Math.ceil(bytes / 16) * 16);
        const shares: number[] = [];
        const onProgress = (share: number) => shares.push(share);
        const cut = await upload(tensors, specs, { ...options, onProgress }, { device });
        assert(cut.weight("w").shards.length > 1, "nothing was cut");
        assertEquals(rowsOf(cut.weight("w"), 1, COLUMNS), expected);
        assertEquals([cut.bytes, cut.numParameters], [whole.bytes, whole.numParameters]);
        assertEquals(shares.at(-1), 1);
      }
    });
  }
}

for (const quantization of FORMATS as readonly (Quantization | undefined)[]) {
  const how = quantization?.method ?? "as stored";
  Deno.test(`uploadWeights() cuts paired tensors at the same rows of each: ${how}`, async () => {
    const options = quantization === undefined ? {} : { quantization };
    const specs = { w: ["c", "e"] };
    const whole = await upload(ALIKE, specs, options, { isGateUp: true });
    const expected = rowsOf(whole.weight("w"), 2, COLUMNS);
    const bytes = matrixBytes(whole.weight("w").dtype, 2 * 3, COLUMNS);
    const device = new BoundedDevice(new ReferenceDevice(), Math.ceil(bytes / 16) * 16);
    const cut = await upload(ALIKE, specs, options, { device, isGateUp: true });
    assertEquals(cut.weight("w").shards.map(({ begin, end }) => [begin, end]), [[0, 2], [2, 4]]);
    const order = [0, 1, 4, 5, 2, 3, 6, 7];
    assertEquals(rowsOf(cut.weight("w"), 2, COLUMNS), order.map((row) => expected[row]!));
  });
}

for (const quantization of FORMATS as readonly (Quantization | undefined)[]) {
  const how = quantization?.method ?? "as stored";
  Deno.test(`uploadWeights() cuts matrices of experts between each other: ${how}`, async () => {
    const options = quantization === undefined ? {} : { quantization };
    // Each tensor is an expert's, of 4 rows.
    const specs = { w: ["c", "e", "c"] };
    const whole = await upload(ALIKE, specs, options, { numMatrices: 3 });
    const bytes = matrixBytes(whole.weight("w").dtype, 2 * 4, COLUMNS);
    // Room for three more rows, which are no expert.
    const device = new BoundedDevice(new ReferenceDevice(), Math.ceil(bytes * 11 / 8 / 16) * 16);
    const cut = await upload(ALIKE, specs, options, { device, numMatrices: 3 });
    assertEquals(cut.weight("w").shards.map(({ begin, end }) => [begin, end]), [[0, 2], [2, 3]]);
    assertEquals(rowsOf(cut.weight("w"), 4, COLUMNS), rowsOf(whole.weight("w"), 4, COLUMNS));
  });
}

Deno.test("uploadWeights() leaves a router's matrix in the checkpoint's type", async () => {
  const quantization = { method: "int8", groupSize: 32 } as const;
  const { weight } = await upload(ALIKE, { w: ["c"] }, { quantization }, { keepsType: true });
  assertEquals(weight("w").dtype, "f32");
});

for (const quantization of FORMATS as readonly (Quantization | undefined)[]) {
  const how = quantization?.method ?? "as stored";
  Deno.test(`uploadWeights() cuts a tensor of pairs as it cuts two: ${how}`, async () => {
    const options = quantization === undefined ? {} : { quantization };
    const both = new Uint8Array([...ALIKE.c.bytes, ...ALIKE.e.bytes]);
    const fused = { f: { dtype: "F32", shape: [8, COLUMNS], bytes: both } };
    const whole = await upload(ALIKE, { w: ["c", "e"] }, options, { isGateUp: true });
    const bytes = matrixBytes(whole.weight("w").dtype, 2 * 3, COLUMNS);
    const cut = async (tensors: Record<string, TensorFixture>) => {
      const device = new BoundedDevice(new ReferenceDevice(), Math.ceil(bytes / 16) * 16);
      const specs = { w: Object.keys(tensors) };
      return (await upload(tensors, specs, options, { device, isGateUp: true })).weight("w");
    };
    const [two, one] = [await cut(ALIKE), await cut(fused)];
    assertEquals(one.shards.map(({ begin, end }) => [begin, end]), [[0, 2], [2, 4]]);
    assertEquals(rowsOf(one, 2, COLUMNS), rowsOf(two, 2, COLUMNS));
  });
}

Deno.test("uploadWeights() refuses a row that cannot be bound, with the numbers", async () => {
  const device = new BoundedDevice(new ReferenceDevice(), 128);
  const error = await assertRejects(
    () => upload(TENSORS, { a: ["a"] }, {}, { device }),
    StartupError,
  );
  assertEquals(
    error.message,
    "The weights do not fit on this device: a cannot be cut: one output (1 x 36 in f32) needs 144 " +
      "bytes, but this device binds at most 128",
  );
});

Deno.test("uploadWeights() gives int4 minima, and the vocabulary its own format", async () => {
  const values = noise(6 * 64, 5);
  const tensors = {
    a: f32Tensor([4, 64], values.slice(0, 4 * 64)),
    b: f32Tensor([2, 64], values.slice(4 * 64)),
  };
  const quantization = {
    ...{ method: "int4", groupSize: 32 } as const,
    ...{ vocabulary: "int8", hasMinima: true } as const,
  };
  const specs = { w: ["a", "b"] };
  const device = new ReferenceDevice();
  const { weight } = await upload(tensors, specs, { quantization }, { device });
  const { dtype, shards: [shard] } = weight("w");
  assertEquals(dtype, "q4_k");
  const { codes, scales } = quantizeBlocks(values, 64);
  const held = await device.read(shard!.buffer, 0, shard!.buffer.bytes);
  assertEquals([...new Uint32Array(held.slice().buffer)], [...codes, ...scales]);
  const isVocabulary = true;
  const embedding = await upload(tensors, specs, { quantization }, { isVocabulary });
  assertEquals(embedding.weight("w").dtype, "int8g32");
});

Deno.test("fallbackNotices() says which matrices have rows too odd for minima", () => {
  const source = (columns: number, fields: Partial<WeightSpec> = {}) => {
    const shape = [4, columns];
    const tensor = { name: "t", dtype: "F32", shape, numElements: 4 * columns } as const;
    const spec = { name: "w", tensors: ["t"], shapes: [shape], ...fields };
    return { spec, tensors: [{ ...tensor, bytes: 16 * columns }] };
  };
  const sources = [
    ...[source(96), source(100), source(140), source(100)],
    ...[source(100, { isVocabulary: true }), source(100, { keepsType: true })],
  ];
  assertEquals(fallbackNotices(sources, DEFAULT_QUANTIZATIONS.int4), [
    "3 matrices with rows of 100, 140 become int4 without minima, which lose more: only rows of " +
    "whole groups of 32 have both",
  ]);
  assertEquals(fallbackNotices(sources.slice(0, 1), DEFAULT_QUANTIZATIONS.int4), []);
  assertEquals(fallbackNotices(sources, DEFAULT_QUANTIZATIONS.int8), []);
});
