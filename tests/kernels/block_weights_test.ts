import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Epilogue, weightRows } from "../../kernels/matmul/epilogue.ts";
import { gemmCalls } from "../../kernels/matmul/gemm.ts";
import { matmulCalls } from "../../kernels/matmul/matmul.ts";
import { normMatmulCalls } from "../../kernels/matmul/norm_matmul.ts";
import { HEADER_WORDS, NO_WORK, STEP } from "../../kernels/step.ts";
import { GPU_TUNING, SOFTWARE_TUNING, type Tuning } from "../../kernels/tuning/tuning.ts";
import { embedTokensCalls } from "../../kernels/weights/embed_tokens.ts";
import { weightValues } from "../../kernels/weights/weight_dtype.ts";
import { matrixBytes, type QuantizedDtype } from "../../src/core/weight_format.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { packBlocks } from "../../src/weights/gguf/pack_blocks.ts";
import { storedGroups } from "../../src/weights/gguf/stored_groups.ts";
import { type BlockType, dequantize, TENSOR_TYPES } from "../../src/weights/gguf/tensor_types.ts";
import { packRows } from "../../src/weights/pack_rows.ts";
import { type Contents, gpuTest, noise, runBoth, runOn, worstError } from "../support/agreement.ts";
import { dimsOf, header, matrix, poisoned } from "../support/product_fixture.ts";
import { cases, runs } from "../support/runs.ts";
import { packStep } from "../support/step_fixture.ts";
import { BLOCK_DTYPES, weightFixture } from "../support/weight_fixture.ts";

/** Types whose blocks are kept, and where in a block their f16 lie. */
const UNITS = { Q8_0: [0], Q4_0: [0], Q4_K: [0, 2], Q6_K: [208] } as const;
type Kept = keyof typeof UNITS;
const KEPT = Object.keys(UNITS) as Kept[];

function typeNamed(name: Kept): BlockType & { readonly kept: QuantizedDtype } {
  const type = TENSOR_TYPES.find((type) => type.name === name) as BlockType;
  return { ...type, kept: type.kept! };
}

/**
 * Random blocks of a file. Their units are any finite f16, in the first blocks zero, the smallest
 * and the largest subnormal, the smallest and the largest normal one.
 */
function randomBlocks(name: Kept, numBlocks: number, seed: number): Uint8Array {
  const { blockBytes } = typeNamed(name);
  const bytes = Uint8Array.from(noise(numBlocks * blockBytes, seed, 128), (value) => value + 128);
  const edges = [0, 0x8000, 1, 0x8001, 0x3ff, 0x83ff, 0x400, 0x8400, 0x7bff, 0xfbff];
  const view = new DataView(bytes.buffer);
  for (let block = 0; block < numBlocks; block++) {
    for (const at of UNITS[name]) {
      const place = block * blockBytes + at;
      const bits = view.getUint16(place, true);
      // An exponent of ones would be no number.
      const finite = (bits & 0x7c00) === 0x7c00 ? bits ^ 0x4000 : bits;
      view.setUint16(place, edges[(block + at) % (3 * edges.length)] ?? finite, true);
    }
  }
  return bytes;
}

/** Rows of `columns` weights of a file as they lie in device memory. */
function packed(name: Kept, bytes: Uint8Array, columns: number): Uint32Array {
  const type = typeNamed(name);
  const { kept } = type;
  const { codes, scales } = kept === "q4_k" || kept === "q6_k"
    ? packBlocks(bytes, columns, kept)
    : packRows(storedGroups(type, bytes.slice(), kept)!, columns, kept);
  return Uint32Array.from([...codes, ...scales]);
}

function numbersOf(name: Kept, bytes: Uint8Array): Float32Array {
  const type = typeNamed(name);
  const values = new Float32Array(bytes.byteLength / type.blockBytes * type.blockSize);
  dequantize(type, bytes, values);
  return values;
}

const bitsOf = ({ buffer, byteOffset, length }: Float32Array) =>
  new Uint32Array(buffer, byteOffset, length);

Deno.test("kept blocks lose no bit: the definition gives the numbers of the file's rule", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...KEPT),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 1e6 }),
      (name, rows, blocks, seed) => {
        const columns = 256 * blocks;
        const bytes = randomBlocks(name, rows * columns / typeNamed(name).blockSize, seed);
        const { kept } = typeNamed(name);
        const buffer = new HostBuffer("w", matrixBytes(kept, rows, columns));
        buffer.u32.set(packed(name, bytes, columns));
        const values = weightValues(buffer, kept, rows, columns);
        assertEquals(bitsOf(values.slice()), bitsOf(numbersOf(name, bytes)));
      },
    ),
    { seed: 5, numRuns: runs(100) },
  );
});

Deno.test("kept blocks take as many bytes as in the file", () => {
  const inFile = ({ blockBytes, blockSize }: BlockType) => 4096 ** 2 / blockSize * blockBytes;
  for (const name of KEPT) {
    const type = typeNamed(name);
    assertEquals(matrixBytes(type.kept, 4096, 4096), inFile(type), name);
  }
  // Of an odd number of blocks, each row of Q6_K has half a word to spare.
  assertEquals(matrixBytes("q6_k", 7, 768), 7 * (3 * 210 + 2));
});

for (const name of KEPT) {
  gpuTest(`a device's own numbers of ${name} have the bits of the file's rule`, async (gpu) => {
    const [V, E] = [19, 768];
    const { kept, blockSize } = typeNamed(name);
    const bytes = randomBlocks(name, V * E / blockSize, 77);
    const values = packed(name, bytes, E);
    // Its tokens count from 0 on.
    const pool = { blockSize: 8, numBlocks: 31, queryTile: 8 };
    const step = packStep([{ start: 0, count: V }], pool);
    const expected = bitsOf(numbersOf(name, bytes));
    const texture = { values, dtype: kept, rows: V, columns: E };
    for (const w of [values, texture]) {
      for (const device of [gpu, new ReferenceDevice()]) {
        const contents: Contents = { step: step.words, w, out: new Float32Array(V * E) };
        const out = await runOn(
          device,
          contents,
          (b) => embedTokensCalls({ V, E, dtype: kept }, b as never),
          step.dims,
          "out",
        );
        assertEquals(out.u32.slice(0, V * E), expected, w === texture ? "texture" : "buffer");
      }
    }
  });
}

const TUNINGS: readonly (readonly [string, Tuning])[] = cases([
  ["CPU threads with subgroups", { ...SOFTWARE_TUNING, matmulSubgroups: true }],
  ["GPU", GPU_TUNING],
  ["CPU threads", SOFTWARE_TUNING],
  ["GPU with subgroups", { ...GPU_TUNING, matmulSubgroups: true }],
], 2);
/** Outputs that fill no tile; an odd number of blocks, as many spans as lanes, and fewer. */
const CASES: readonly { n: number; k: number; epilogue: Epilogue }[] = cases([
  { n: 9, k: 768, epilogue: "add" },
  { n: 21, k: 256, epilogue: "silu" },
], 1);

function stepOf(numTokens: number): Uint32Array {
  const words = new Uint32Array(HEADER_WORDS);
  words[STEP.numTokens] = numTokens;
  return words;
}

for (const dtype of BLOCK_DTYPES) {
  for (const [title, tuning] of TUNINGS) {
    gpuTest(`products of ${dtype} agree with the definition: ${title}`, async (gpu) => {
      const least = tuning.matmulTiles[0]!.slices === 1 ? 8 : 1;
      if (tuning.matmulSubgroups && gpu.capabilities.subgroupMinSize < least) {
        // deno-lint-ignore no-console -- a skip must say why
        console.warn(`skipped: the adapter grants no subgroups of ${least}`);
        return;
      }
      for (const { n, k, epilogue } of CASES) {
        const product = { label: "test", rows: "tokens", n, k, dtype, epilogue } as const;
        const rows = weightRows(n, epilogue);
        const values = weightFixture(dtype, rows, k);
        const isTexture = tuning.usesWeightTextures;
        const w = isTexture ? { values, dtype, rows, columns: k } : values;
        for (const count of [1, 9]) {
          const contents = {
            step: stepOf(count),
            x: poisoned(count, k, 1),
            w,
            y: new Float32Array((count + 3) * n).fill(7),
          };
          const { actual, expected } = await runBoth(
            gpu,
            contents,
            (b) => matmulCalls(product, b as never, tuning),
            { ...NO_WORK, numTokens: count },
            "y",
          );
          const error = worstError(actual.f32, expected.f32);
          assert(error < 2e-6 * k, `n ${n} k ${k} rows ${count} ${epilogue}: error ${error}`);
          assert(actual.f32[count * n] === 7, "wrote past the last row");
        }
      }
    });
  }

  gpuTest(`norm_matmul of ${dtype} agrees with the definition`, async (gpu) => {
    const [n, k, rows] = [9, 768, 2];
    const product = { label: "test", rows: "tokens", n, k, dtype, eps: 1e-5 } as const;
    const { actual, expected } = await runBoth(
      gpu,
      {
        step: stepOf(rows),
        x: poisoned(rows, k, 1),
        norm: noise(k, 3),
        normed: new Float32Array(rows * k),
        w: weightFixture(dtype, n, k),
        y: new Float32Array(rows * n),
      },
      (b) => normMatmulCalls(product, b as never, GPU_TUNING),
      { ...NO_WORK, numTokens: rows },
      "y",
    );
    const error = worstError(actual.f32, expected.f32);
    assert(error < 4e-6 * k, `error ${error}`);
  });

  gpuTest(`gemm of ${dtype} agrees with the definition`, async (gpu) => {
    const [n, k] = [70, 512];
    const product = { label: "test", rows: "tokens", n, k, dtype } as const;
    for (const rows of [9, 33, 65]) {
      const { actual, expected } = await runBoth(
        gpu,
        {
          step: header(rows),
          x: poisoned(rows, k, 1),
          w: matrix(n, k, dtype),
          y: new Float32Array(rows * n),
        },
        (b) => gemmCalls(product, b as never, GPU_TUNING),
        dimsOf(rows),
        "y",
      );
      const error = worstError(actual.f32, expected.f32);
      assert(error < 2e-6 * k, `rows ${rows}: error ${error}`);
    }
  });
}
