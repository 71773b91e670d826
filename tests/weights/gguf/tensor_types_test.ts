import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  type BlockType,
  dequantize,
  TENSOR_TYPES,
  tensorType,
  typeName,
} from "../../../src/weights/gguf/tensor_types.ts";
import { runs } from "../../support/runs.ts";

const BLOCK_TYPES = TENSOR_TYPES.filter((type) => type.decode !== undefined) as BlockType[];

function typeNamed(name: string): BlockType {
  return BLOCK_TYPES.find((type) => type.name === name)!;
}

function numbersOf(type: BlockType, bytes: Uint8Array): Float32Array {
  const values = new Float32Array(bytes.byteLength / type.blockBytes * type.blockSize);
  dequantize(type, bytes, values);
  return values;
}

/** A reference file of blocks, and the numbers that ggml makes of them (`gguf_blocks.ts`). */
const GOLDEN: readonly {
  readonly name: string;
  readonly cases: readonly { readonly bytes: string; readonly values: string }[];
}[] = JSON.parse(
  Deno.readTextFileSync(new URL("../../golden/gguf_blocks.json", import.meta.url)),
).golden;

Deno.test("every type of blocks has golden ones, and gives their numbers bit for bit", () => {
  assertEquals(GOLDEN.map(({ name }) => name).sort(), BLOCK_TYPES.map(({ name }) => name).sort());
  for (const { name, cases } of GOLDEN) {
    for (const { bytes, values } of cases) {
      const expected = new Uint32Array(Uint8Array.fromBase64(values).buffer);
      const actual = numbersOf(typeNamed(name), Uint8Array.fromBase64(bytes));
      assertEquals(new Uint32Array(actual.buffer), expected, name);
    }
  }
});

/** Bits `[at, at + width)` of a block that hold a part of a number, lowest first. */
type Bits = readonly (readonly [at: number, width: number])[];

/**
 * A format as a map of bits, written independently of the decoders: where the code of number i lies,
 * the scale and minimum of group g, and what they mean.
 */
interface BitMap {
  readonly groupSize: number;
  readonly code: (i: number) => Bits;
  readonly scale?: (group: number) => Bits;
  readonly minimum?: (group: number) => Bits;
  /** Byte of the f16 unit, and that of the minima. */
  readonly unit: number;
  readonly minimumUnit?: number;
  readonly value: (code: number) => number;
  readonly scaleValue?: (scale: number) => number;
}

const byte = (at: number, shift: number, width: number) => [8 * at + shift, width] as const;
/** Nibbles of 16 bytes: low halves first, high halves behind. */
const nibbles16 = (at: number) => (i: number) => [byte(at + i % 16, i < 16 ? 0 : 4, 4)];
/** Fields of 2 bits: of 128 numbers, each byte of 32 holds four that are 32 apart. */
const pairs = (at: number, i: number) =>
  byte(at + 32 * Math.floor(i / 128) + i % 32, 2 * (Math.floor(i / 32) % 4), 2);
const nibbles32 = (at: number, i: number) =>
  byte(at + 32 * Math.floor(i / 64) + i % 32, 4 * (Math.floor(i / 32) % 2), 4);
const kScale = (at: number) => (g: number): Bits =>
  g < 4 ? [byte(at + g, 0, 6)] : [byte(at + g + 4, 0, 4), byte(at + g - 4, 6, 2)];
const kMinimum = (at: number) => (g: number): Bits =>
  g < 4 ? [byte(at + g + 4, 0, 6)] : [byte(at + g + 4, 4, 4), byte(at + g, 6, 2)];
const LEVELS = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
const plain = (code: number) => code;

const MAPS: Readonly<Record<string, BitMap>> = {
  Q4_0: { groupSize: 32, unit: 0, code: nibbles16(2), value: (code) => code - 8 },
  Q4_1: { groupSize: 32, unit: 0, minimumUnit: 2, code: nibbles16(4), value: plain },
  Q5_0: {
    groupSize: 32,
    unit: 0,
    code: (i) => [...nibbles16(6)(i), [16 + i, 1]],
    value: (code) => code - 16,
  },
  Q5_1: {
    groupSize: 32,
    unit: 0,
    minimumUnit: 2,
    code: (i) => [...nibbles16(8)(i), [32 + i, 1]],
    value: plain,
  },
  Q8_0: {
    groupSize: 32,
    unit: 0,
    code: (i) => [byte(2 + i, 0, 8)],
    value: (code) => code < 128 ? code : code - 256,
  },
  IQ4_NL: { groupSize: 32, unit: 0, code: nibbles16(2), value: (code) => LEVELS[code]! },
  Q2_K: {
    groupSize: 16,
    unit: 80,
    minimumUnit: 82,
    code: (i) => [pairs(16, i)],
    scale: (g) => [byte(g, 0, 4)],
    minimum: (g) => [byte(g, 4, 4)],
    value: plain,
  },
  Q3_K: {
    groupSize: 16,
    unit: 108,
    code: (i) => [pairs(32, i), byte(i % 32, Math.floor(i / 32), 1)],
    scale: (g) => [byte(96 + g % 8, g < 8 ? 0 : 4, 4), byte(104 + g % 4, 2 * (g >> 2), 2)],
    value: (code) => code - 4,
    scaleValue: (scale) => scale - 32,
  },
  Q4_K: {
    groupSize: 32,
    unit: 0,
    minimumUnit: 2,
    code: (i) => [nibbles32(16, i)],
    scale: kScale(4),
    minimum: kMinimum(4),
    value: plain,
  },
  Q5_K: {
    groupSize: 32,
    unit: 0,
    minimumUnit: 2,
    code: (i) => [nibbles32(48, i), byte(16 + i % 32, Math.floor(i / 32), 1)],
    scale: kScale(4),
    minimum: kMinimum(4),
    value: plain,
  },
  Q6_K: {
    groupSize: 16,
    unit: 208,
    code: (i) => [
      byte(64 * Math.floor(i / 128) + i % 64, 4 * (Math.floor(i / 64) % 2), 4),
      pairs(128, i),
    ],
    scale: (g) => [byte(192 + g, 0, 8)],
    value: (code) => code - 32,
    scaleValue: (scale) => scale < 128 ? scale : scale - 256,
  },
  IQ4_XS: {
    groupSize: 32,
    unit: 0,
    code: (i) => [byte(8 + 16 * Math.floor(i / 32) + i % 16, i % 32 < 16 ? 0 : 4, 4)],
    scale: (g) => [byte(4 + (g >> 1), 4 * (g % 2), 4), [16 + 2 * g, 2]],
    value: (code) => LEVELS[code]!,
    scaleValue: (scale) => scale - 32,
  },
  TQ2_0: { groupSize: 256, unit: 64, code: (i) => [pairs(0, i)], value: (code) => code - 1 },
};

function putBits(bytes: Uint8Array, bits: Bits, value: number): void {
  let rest = value;
  for (const [at, width] of bits) {
    for (let bit = at; bit < at + width; bit++, rest >>= 1) {
      bytes[bit >> 3]! |= (rest & 1) << (bit & 7);
    }
  }
}

const widthOf = (bits: Bits) => bits.reduce((sum, [, width]) => sum + width, 0);

/** An f16 that is a plain number, and not so large that products overflow. */
const half = fc.integer({ min: -2000, max: 2000 }).map((n) => Math.f16round(n / 1024));

for (const [name, map] of Object.entries(MAPS)) {
  Deno.test(`${name} decodes what is put into its bits`, () => {
    const type = typeNamed(name);
    const numGroups = type.blockSize / map.groupSize;
    fc.assert(
      fc.property(fc.infiniteStream(fc.nat()), half, half, (naturals, unit, minimumUnit) => {
        const bytes = new Uint8Array(type.blockBytes);
        const view = new DataView(bytes.buffer);
        const draw = (bits: Bits) => {
          const value = naturals.next().value! % 2 ** widthOf(bits);
          putBits(bytes, bits, value);
          return value;
        };
        view.setFloat16(map.unit, unit, true);
        if (map.minimumUnit !== undefined) view.setFloat16(map.minimumUnit, minimumUnit, true);
        const groups = Array.from({ length: numGroups }, (_, g) => {
          const scale = map.scale === undefined ? 1 : draw(map.scale(g));
          const minimum = map.minimum === undefined ? 1 : draw(map.minimum(g));
          return { scale: map.scaleValue?.(scale) ?? scale, minimum };
        });
        // Q4_1 and Q5_1 add their minimum, the K-quants subtract it.
        const sign = map.minimumUnit === undefined ? 0 : map.minimum === undefined ? 1 : -1;
        const expected = Float32Array.from({ length: type.blockSize }, (_, i) => {
          const { scale, minimum } = groups[Math.floor(i / map.groupSize)]!;
          return unit * scale * map.value(draw(map.code(i))) + sign * minimumUnit * minimum;
        });
        // Adding 0 makes no difference between the zeros.
        assertEquals(numbersOf(type, bytes).map((x) => x + 0), expected.map((x) => x + 0));
      }),
      { numRuns: runs(60), seed: 12 },
    );
  });
}

Deno.test("TQ1_0 decodes the digits of base 3 that were rounded up into its bytes", () => {
  const type = typeNamed("TQ1_0");
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -1, max: 1 }), { minLength: 256, maxLength: 256 }), (
      digits,
    ) => {
      const bytes = new Uint8Array(type.blockBytes);
      new DataView(bytes.buffer).setFloat16(52, 0.5, true);
      // Number i of a run is digit floor(i / width) of byte i mod width.
      const put = (at: number, width: number, trits: number, first: number) => {
        for (let j = 0; j < width; j++) {
          let value = 0;
          for (let t = 0; t < 5; t++) {
            value = 3 * value + (t < trits ? digits[first + t * width + j]! + 1 : 0);
          }
          bytes[at + j] = Math.ceil(value * 256 / 243);
        }
      };
      put(0, 32, 5, 0);
      put(32, 16, 5, 160);
      put(48, 4, 4, 240);
      assertEquals([...numbersOf(type, bytes)], digits.map((digit) => 0.5 * digit + 0));
    }),
    { numRuns: runs(60), seed: 12 },
  );
});

Deno.test("MXFP4 decodes E2M1 codes under a power of two, and 255 is not a number", () => {
  const type = typeNamed("MXFP4");
  const bytes = new Uint8Array(17);
  for (let code = 0; code < 16; code++) bytes[1 + code] = code | (code << 4);
  const e2m1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6];
  for (const [exponent, scale] of [[127, 1], [130, 8], [1, 2 ** -126], [0, 2 ** -127]] as const) {
    bytes[0] = exponent;
    const expected = Float32Array.from([...e2m1, ...e2m1], (value) => value * scale);
    assertEquals(numbersOf(type, bytes), expected, String(exponent));
  }
  bytes[0] = 255;
  assert(numbersOf(type, bytes).every(Number.isNaN));
});

Deno.test("Q4_0 and Q6_K decode blocks made by hand", () => {
  const q4 = new Uint8Array(18);
  new DataView(q4.buffer).setFloat16(0, 0.25, true);
  q4.fill(0x88, 2);
  q4[2] = 0xf0;
  q4[17] = 0x19;
  const expected = new Float32Array(32);
  expected[0] = 0.25 * -8;
  expected[16] = 0.25 * 7;
  expected[15] = 0.25 * 1;
  expected[31] = 0.25 * -7;
  assertEquals(numbersOf(typeNamed("Q4_0"), q4), expected);
  const q6 = new Uint8Array(210);
  new DataView(q6.buffer).setFloat16(208, 2, true);
  q6.fill(1, 192, 208);
  q6[192 + 15] = 0xfd;
  // Number 255: high half of byte 127 and bits 6 and 7 of byte 63 of the pairs.
  q6[127] = 0x50;
  q6[128 + 63] = 0x80;
  const numbers = numbersOf(typeNamed("Q6_K"), q6);
  assertEquals(numbers[255], 2 * -3 * (5 + 32 - 32));
  assertEquals(numbers[0], 2 * 1 * -32);
});

Deno.test("types are known by their numbers, others by their names alone", () => {
  assertEquals([tensorType(12)?.name, tensorType(16), tensorType(-1)], [
    "Q4_K",
    undefined,
    undefined,
  ]);
  assertEquals([typeName(8), typeName(16), typeName(99)], ["Q8_0", "IQ2_XXS", "number 99"]);
  assertThrows(
    () => dequantize(typeNamed("Q4_K"), new Uint8Array(145), new Float32Array(256)),
    RangeError,
    "Cannot dequantize 145 bytes of Q4_K to 256 numbers",
  );
});
