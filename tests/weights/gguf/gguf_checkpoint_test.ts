import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { StartupError } from "../../../src/core/errors.ts";
import { quantizedDtype } from "../../../src/core/weight_format.ts";
import { decodeToF32 } from "../../../src/weights/dtypes.ts";
import { modelFingerprint } from "../../../src/weights/fingerprint.ts";
import { openGgufCheckpoint } from "../../../src/weights/gguf/gguf_checkpoint.ts";
import { blockValues } from "../../../kernels/weights/block_values.ts";
import {
  type BlockType,
  dequantize,
  TENSOR_TYPES,
  tensorType,
} from "../../../src/weights/gguf/tensor_types.ts";
import type { Checkpoint } from "../../../src/weights/checkpoint.ts";
import { GGUF_TYPE, ggufFile, type GgufTensorData } from "../../support/gguf_writer.ts";
import { readTensor } from "../../support/read_tensor.ts";
import { runs } from "../../support/runs.ts";
import { withModelDir } from "../checkpoint_files.ts";
import {
  blockTensor,
  counting,
  countingTensor,
  f32Tensor,
  SMALL_METADATA,
  smallGguf,
  smallTensors,
} from "./small_gguf.ts";

function withWeights(bytes: Uint8Array, body: (weights: Checkpoint) => void): void {
  withModelDir({ "a.gguf": bytes }, (dir) => {
    const weights = openGgufCheckpoint(`${dir}/a.gguf`);
    try {
      body(weights);
    } finally {
      weights.close();
    }
  });
}

/** All numbers of a tensor. */
function numbersOf(weights: Checkpoint, name: string): number[] {
  const { dtype, numElements } = weights.tensor(name);
  const values = new Float32Array(numElements);
  decodeToF32(dtype, readTensor(weights, name), values);
  return [...values];
}

/** The numbers of a tensor as the file has it. */
function stored({ type, bytes }: GgufTensorData): number[] {
  const block = tensorType(type) as BlockType;
  const values = new Float32Array(bytes.byteLength / block.blockBytes * block.blockSize);
  dequantize(block, bytes, values);
  return [...values];
}

/** Rows of `numbers` in the order of `order`. */
function reorder(numbers: readonly number[], columns: number, order: readonly number[]): number[] {
  return order.flatMap((row) => numbers.slice(row * columns, (row + 1) * columns));
}

/** Where the rows of heads of 16 lie in a file whose pairs are neighbours. */
function pairedOrder(numHeads: number): number[] {
  return counting(16 * numHeads).map((row) => {
    const [head, i] = [Math.floor(row / 16), row % 16];
    return 16 * head + (i < 8 ? 2 * i : 2 * (i - 8) + 1);
  });
}

Deno.test("tensors have the names, types and shapes of a checkpoint", () => {
  withWeights(smallGguf({}, { "extra.weight": countingTensor(3) }), (weights) => {
    assertEquals(weights.names(), [
      "model.embed_tokens.weight",
      "model.layers.0.input_layernorm.weight",
      "model.layers.0.self_attn.q_proj.weight",
      "model.layers.0.self_attn.k_proj.weight",
      "model.layers.0.self_attn.v_proj.weight",
      "model.layers.0.self_attn.o_proj.weight",
      "model.layers.0.post_attention_layernorm.weight",
      "model.layers.0.mlp.gate_proj.weight",
      "model.layers.0.mlp.up_proj.weight",
      "model.layers.0.mlp.down_proj.weight",
      "model.norm.weight",
      "extra.weight",
    ]);
    const { name: _, ...key } = weights.tensor("model.layers.0.self_attn.k_proj.weight");
    assertEquals(key, {
      dtype: "F32",
      shape: [16, 32],
      numElements: 512,
      bytes: 2048,
      blocks: {
        ...{ name: "Q8_0", kept: "int8g32" as const },
        nearest: { method: "int8" as const, groupSize: 32 as const },
      },
    });
    assertEquals(weights.tensor("model.norm.weight").blocks, undefined);
    assertThrows(() => weights.tensor("blk.0.attn_q.weight"), StartupError, "has no tensor");
  });
});

Deno.test("rows of queries and keys come in halves of a head, whatever their type", () => {
  const tensors = smallTensors();
  withWeights(smallGguf(), (weights) => {
    const layer = "model.layers.0.self_attn";
    assertEquals(
      numbersOf(weights, `${layer}.q_proj.weight`),
      reorder(counting(1024), 32, pairedOrder(2)),
    );
    assertEquals(
      numbersOf(weights, `${layer}.k_proj.weight`),
      reorder(stored(tensors["blk.0.attn_k.weight"]!), 32, pairedOrder(1)),
    );
    assertEquals(
      numbersOf(weights, `${layer}.v_proj.weight`),
      stored(tensors["blk.0.attn_v.weight"]!),
    );
  });
  const bias = { "blk.0.attn_q.bias": countingTensor(32) };
  withWeights(smallGguf({}, bias), (weights) => {
    assertEquals(numbersOf(weights, "model.layers.0.self_attn.q_proj.bias"), pairedOrder(2));
  });
});

Deno.test("an architecture whose converters leave rows alone gets them as they are", () => {
  const metadata = Object.fromEntries(
    Object.entries(SMALL_METADATA).map(([key, value]) => [key.replace("llama.", "qwen3."), value]),
  );
  const bytes = ggufFile({ ...metadata, "general.architecture": "qwen3" }, {
    "blk.0.attn_q.weight": countingTensor(32, 32),
    "blk.0.attn_q_norm.weight": countingTensor(16),
  });
  withWeights(bytes, (weights) => {
    assertEquals(numbersOf(weights, "model.layers.0.self_attn.q_proj.weight"), counting(1024));
    assertEquals(numbersOf(weights, "model.layers.0.self_attn.q_norm.weight"), counting(16));
  });
});

Deno.test("any range of bytes of a tensor is that range of its whole", () => {
  withWeights(smallGguf(), (weights) => {
    fc.assert(
      fc.property(
        fc.constantFrom(...weights.names()),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (name, from, share) => {
          const whole = readTensor(weights, name);
          const begin = Math.floor(from * whole.byteLength);
          const into = new Uint8Array(Math.floor(share * (whole.byteLength - begin)));
          weights.readRange(name, begin, into);
          assertEquals(into, whole.slice(begin, begin + into.byteLength), name);
        },
      ),
      { numRuns: runs(400), seed: 12 },
    );
    const name = "model.norm.weight";
    assertThrows(() => weights.readRange(name, 1, new Uint8Array(128)), RangeError);
    assertThrows(() => weights.readRange(name, 0.5, new Uint8Array(1)), RangeError);
    assertThrows(() => weights.readRange(name, -1, new Uint8Array(1)), RangeError);
  });
});

/** 4 rows of 256 in blocks of a type with random bytes, but for their scales. */
function randomBlocks(name: keyof typeof SCALES): GgufTensorData {
  const type = TENSOR_TYPES.find((type) => type.name === name) as BlockType;
  const bytes = new Uint8Array(4 * 256 / type.blockSize * type.blockBytes);
  let state = 1;
  bytes.forEach((_, i) => bytes[i] = (state = Math.imul(state, 0x915f77f5) + 1) >>> 24);
  for (let at = 0; at < bytes.byteLength; at += type.blockBytes) {
    if (name === "MXFP4") bytes[at] = 120 + at % 7;
    else new DataView(bytes.buffer).setFloat16(at + SCALES[name], (at % 11 - 5) / 64, true);
  }
  return { shape: [4, 256], type: GGUF_TYPE[name], bytes };
}

/** Types whose numbers are multiples of a scale, and where in a block it lies. */
const SCALES = { Q4_0: 0, Q5_0: 0, Q8_0: 0, IQ4_NL: 0, TQ1_0: 52, TQ2_0: 64, MXFP4: 0 } as const;

for (const name of Object.keys(SCALES) as (keyof typeof SCALES)[]) {
  Deno.test(`${name} becomes codes and scales of a format of the device without loss`, () => {
    const bytes = smallGguf({}, { "blk.0.ffn_down.weight": randomBlocks(name) });
    withWeights(bytes, (weights) => {
      const down = "model.layers.0.mlp.down_proj.weight";
      const dtype = quantizedDtype(weights.tensor(down).blocks!.nearest);
      const groups = weights.readGroups(down, { begin: 0, end: 4 }, dtype)!;
      const values = Array.from(groups.codes, (code, i) =>
        Math.fround(
          groups.scales[i >> 5]! * (dtype === "int8g32" ? (code << 24) >> 24 : code - 8),
        ) + 0);
      assertEquals(groups.scales.length, 4 * 8);
      assertEquals(values, numbersOf(weights, down).map((value) => value + 0));
      assert(new Set(values).size > 2, "the blocks are all alike");
    });
  });
}

Deno.test("MXFP4 with scales that are no f16 is read as numbers", () => {
  for (const exponent of [103, 144, 255]) {
    const blocks = randomBlocks("MXFP4");
    blocks.bytes[17 * 5] = exponent;
    withWeights(smallGguf({}, { "blk.0.ffn_down.weight": blocks }), (weights) => {
      const rows = { begin: 0, end: 4 };
      const down = "model.layers.0.mlp.down_proj.weight";
      assertEquals(weights.readGroups(down, rows, "int8g32"), undefined);
      const numbers = numbersOf(weights, down);
      assertEquals(numbers.slice(160, 192).every(Number.isFinite), exponent !== 255);
    });
  }
});

Deno.test("rows of codes begin where they are asked for, and other types have none", () => {
  const tensors = {
    "blk.0.ffn_up.weight": blockTensor([64, 32], "Q4_0"),
    "blk.0.attn_output.weight": blockTensor([4, 256], "Q4_K"),
  };
  withWeights(smallGguf({}, tensors), (weights) => {
    const value = (name: string, dtype: "int8g32" | "int4g32") => {
      const { shape } = weights.tensor(name);
      const groups = weights.readGroups(name, { begin: 3, end: shape[0]! }, dtype);
      if (groups === undefined) return undefined;
      const { codes, scales } = groups;
      assertEquals(scales.length, codes.length / 32);
      return Array.from(codes, (code, i) =>
        Math.fround(
          scales[i >> 5]! * (dtype === "int8g32" ? (code << 24) >> 24 : code - 8),
        ) + 0);
    };
    const key = "model.layers.0.self_attn.k_proj.weight";
    const up = "model.layers.0.mlp.up_proj.weight";
    assertEquals(value(key, "int8g32"), numbersOf(weights, key).slice(96).map((x) => x + 0));
    assertEquals(value(up, "int4g32"), numbersOf(weights, up).slice(96).map((x) => x + 0));
    assertEquals(value(up, "int8g32"), numbersOf(weights, up).slice(96).map((x) => x + 0));
    assertEquals(value(key, "int4g32"), undefined);
    assertEquals(value("model.layers.0.self_attn.o_proj.weight", "int8g32"), undefined);
    assertEquals(value("model.layers.0.self_attn.q_proj.weight", "int8g32"), undefined);
  });
});

Deno.test("a scale that is not a finite number is refused by tensor and row", () => {
  const key = blockTensor([16, 32], "Q8_0");
  new DataView(key.bytes.buffer).setUint16(34 * 6, 0x7c00, true);
  withWeights(smallGguf({}, { "blk.0.attn_k.weight": key }), (weights) => {
    const error = assertThrows(() =>
      weights.readGroups("model.layers.0.self_attn.k_proj.weight", { begin: 0, end: 16 }, "int8g32")
    );
    // Row 6 of the file is row 3 of the checkpoint.
    assertEquals(
      (error as Error).message.replace(/^.*\//, ""),
      'a.gguf: tensor "model.layers.0.self_attn.k_proj.weight" has a scale of Infinity in row 3: ' +
        "weights must be finite numbers",
    );
  });
});

Deno.test("a unit of kept blocks that is not a finite number is refused by tensor and row", () => {
  for (const [at, bits] of [[0, 0x7c00], [2, 0xfc01]] as const) {
    const down = blockTensor([4, 512], "Q4_K");
    new DataView(down.bytes.buffer).setUint16(144 * 5 + at, bits, true);
    withWeights(smallGguf({}, { "blk.0.ffn_down.weight": down }), (weights) => {
      const name = "model.layers.0.mlp.down_proj.weight";
      weights.readBlocks(name, { begin: 0, end: 2 }, "q4_k");
      const error = assertThrows(() => weights.readBlocks(name, { begin: 1, end: 4 }, "q4_k"));
      assertEquals(
        (error as Error).message.replace(/^.*\//, ""),
        `a.gguf: tensor "${name}" has a scale of ${at === 0 ? "Infinity" : "NaN"} in row 2: ` +
          "weights must be finite numbers",
      );
    });
  }
});

Deno.test("kept blocks of q and k come in the checkpoint's order of rows", () => {
  withWeights(
    smallGguf({}, { "blk.0.attn_k.weight": blockTensor([16, 256], "Q4_K") }),
    (weights) => {
      const name = "model.layers.0.self_attn.k_proj.weight";
      const { codes, scales } = weights.readBlocks(name, { begin: 3, end: 16 }, "q4_k");
      const words = Uint32Array.from([...codes, ...scales]);
      assertEquals(
        [...blockValues(words, "q4_k", 13, 256)],
        numbersOf(weights, name).slice(3 * 256),
      );
    },
  );
});

Deno.test("the 1 that converters add to Gemma's norms is taken off, of those alone", () => {
  const bytes = ggufFile({
    "general.architecture": "gemma2",
    "gemma2.attention.head_count": { u32: 2 },
  }, {
    "blk.0.attn_norm.weight": f32Tensor([4], [1, 0.5, 3, -1]),
    "blk.0.post_ffw_norm.weight": {
      ...f32Tensor([2], []),
      type: GGUF_TYPE.F16,
      bytes: halves(2, 1.5),
    },
    "blk.0.attn_q.weight": countingTensor(4, 4),
  });
  withWeights(bytes, (weights) => {
    assertEquals(numbersOf(weights, "model.layers.0.input_layernorm.weight"), [0, -0.5, 2, -2]);
    const after = "model.layers.0.post_feedforward_layernorm.weight";
    assertEquals([weights.tensor(after).dtype, numbersOf(weights, after)], ["F32", [1, 0.5]]);
    assertEquals(numbersOf(weights, "model.layers.0.self_attn.q_proj.weight"), counting(16));
  });
});

function halves(...values: number[]): Uint8Array {
  return new Uint8Array(Float16Array.from(values).buffer);
}

Deno.test("the experts of a layer are matrices of their own", () => {
  const bytes = ggufFile({ "general.architecture": "qwen3moe" }, {
    "blk.1.ffn_gate_exps.weight": countingTensor(3, 2, 32),
    "blk.1.ffn_down_exps.weight": blockTensor([3, 4, 32], "Q8_0"),
    "blk.1.ffn_gate_inp.weight": countingTensor(3, 32),
  });
  withWeights(bytes, (weights) => {
    const expert = (i: number, part: string) => `model.layers.1.mlp.experts.${i}.${part}.weight`;
    assertEquals(weights.names().length, 7);
    assertEquals(weights.tensor(expert(2, "gate_proj")).shape, [2, 32]);
    assertEquals(numbersOf(weights, expert(2, "gate_proj")), counting(64, 128));
    const whole = stored(blockTensor([3, 4, 32], "Q8_0"));
    assertEquals(numbersOf(weights, expert(1, "down_proj")), whole.slice(128, 256));
    assertEquals(numbersOf(weights, "model.layers.1.mlp.gate.weight"), counting(96));
  });
});

Deno.test("a fingerprint covers metadata, headers and the data of a file", () => {
  const prints = new Set<string>();
  const fingerprint = (bytes: Uint8Array) =>
    withWeights(bytes, (weights) => prints.add(modelFingerprint("{}", weights)));
  fingerprint(smallGguf());
  fingerprint(smallGguf());
  assertEquals(prints.size, 1);
  fingerprint(smallGguf({ "general.name": "other" }));
  const { bytes, ...rest } = blockTensor([32, 64], "Q8_0");
  fingerprint(smallGguf({}, { "blk.0.ffn_down.weight": { ...rest, bytes: bytes.toReversed() } }));
  fingerprint(smallGguf({}, { "blk.0.ffn_down.weight": countingTensor(32, 64) }));
  assertEquals(prints.size, 4);
});
