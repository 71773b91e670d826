import { assertEquals, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { decodeMxfp4, mxfp4Groups } from "../../src/weights/mxfp4.ts";
import { openSafetensors } from "../../src/weights/safetensors.ts";
import { readTensor } from "../support/read_tensor.ts";
import { safetensorsFile, type TensorFixture, withModelDir } from "./checkpoint_files.ts";

/** Every code twice, in order, the low half of each byte first. */
const CODES = Uint8Array.from({ length: 16 }, (_, i) => (2 * i & 15) | ((2 * i + 1) & 15) << 4);
const HALF = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
/** Their numbers by a scale of 1. */
const NUMBERS = [...HALF, ...HALF.map((value) => 0 - value)];

const u8 = (shape: readonly number[], bytes: Uint8Array): TensorFixture => ({
  dtype: "U8",
  shape,
  bytes,
});
const BLOCKS = u8([1, 2, 1, 16], Uint8Array.from([...CODES, ...CODES]));
const SCALES = u8([1, 2, 1], Uint8Array.of(127, 124));

Deno.test("decodeMxfp4() gives the numbers of every code, by powers of two", () => {
  const twice = [...NUMBERS, ...NUMBERS];
  const positive = (values: Float32Array) => Array.from(values, (value) => value + 0);
  assertEquals(positive(decodeMxfp4(CODES, Uint8Array.of(127))), twice);
  assertEquals(positive(decodeMxfp4(CODES, Uint8Array.of(130))), twice.map((value) => 8 * value));
  assertEquals(decodeMxfp4(CODES, Uint8Array.of(255)).every(Number.isNaN), true);
});

Deno.test("mxfp4Groups() loses nothing, and leaves scales that are no f16", () => {
  for (const byte of [104, 127, 143]) {
    const { codes, scales } = mxfp4Groups(CODES, Uint8Array.of(byte))!;
    const values = Array.from(new Int8Array(codes.buffer), (code) => code * scales[0]!);
    assertEquals(values, Array.from(decodeMxfp4(CODES, Uint8Array.of(byte)), (value) => value + 0));
  }
  for (const byte of [0, 103, 144, 255]) {
    assertEquals(mxfp4Groups(CODES, Uint8Array.of(byte)), undefined);
  }
});

Deno.test("openSafetensors() reads blocks and scales as one tensor", () => {
  const file = safetensorsFile({ "a.w_blocks": BLOCKS, "a.w_scales": SCALES });
  withModelDir({ "model.safetensors": file }, (dir) => {
    const weights = openSafetensors(dir);
    assertEquals(weights.names(), ["a.w"]);
    const { dtype, shape, bytes, blocks } = weights.tensor("a.w");
    assertEquals([dtype, shape, bytes], ["F32", [1, 2, 32], 256]);
    assertEquals(blocks, { name: "MXFP4", nearest: { method: "int8", groupSize: 32 } });
    const whole = readTensor(weights, "a.w");
    assertEquals([...new Float32Array(whole.buffer)].slice(33, 36), [0.0625, 0.125, 0.1875]);
    for (const [begin, end] of [[0, 4], [60, 200], [128, 256], [252, 256], [8, 8]] as const) {
      const part = new Uint8Array(end - begin);
      weights.readRange("a.w", begin, part);
      assertEquals(part, whole.slice(begin, end));
    }
    assertThrows(() => weights.readRange("a.w", 252, new Uint8Array(8)), RangeError);
    const { codes, scales } = weights.readGroups("a.w", { begin: 1, end: 2 }, "int8g32")!;
    assertEquals([codes[1], scales.length, scales[0]], [1, 1, 2 ** -4]);
    assertEquals(weights.readGroups("a.w", { begin: 0, end: 2 }, "int4g32"), undefined);
    weights.close();
  });
});

Deno.test("openSafetensors() refuses parts of MXFP4 that do not belong together, and other bytes", () => {
  const refused = (tensors: Record<string, TensorFixture>, message: string) =>
    withModelDir({ "model.safetensors": safetensorsFile(tensors) }, (dir) => {
      assertThrows(() => openSafetensors(dir), StartupError, message);
    });
  refused({ "a.w_blocks": BLOCKS }, 'there is no "a.w_scales"');
  refused({ "a.w_scales": SCALES }, 'there is no "a.w_blocks"');
  const others = u8([2, 1, 1], SCALES.bytes);
  refused({ "a.w_blocks": BLOCKS, "a.w_scales": others }, "must be a scale for each 16 bytes");
  const wide = u8([1, 2, 16, 1], BLOCKS.bytes);
  refused({ "a.w_blocks": wide, "a.w_scales": SCALES }, "must be a scale for each 16 bytes");
  refused({ "a.w": BLOCKS }, 'has dtype "U8"');
});
