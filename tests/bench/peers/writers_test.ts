import { assert, assertEquals } from "@std/assert";
import { writeGguf } from "../../../bench/peers/gguf_writer.ts";
import { randomCheckpoint } from "../../../bench/peers/random_checkpoint.ts";
import { writeSafetensors } from "../../../bench/peers/safetensors_writer.ts";
import { findShape, shapeModel, shapeSizes } from "../../../bench/shapes.ts";
import { openSafetensors } from "../../../src/weights/safetensors.ts";
import { readTensor } from "../../support/read_tensor.ts";

const SHAPE = findShape("tiny");
const CONFIG = shapeSizes(SHAPE);
const TENSORS = randomCheckpoint(CONFIG, 5);

/** A tensor of a GGUF file: extents slowest first, type id and the numbers. */
interface GgufTensor {
  readonly shape: number[];
  readonly type: number;
  readonly values: Float32Array;
}

/** Reads GGUF version 3 by its specification, as far as these files use it. */
function readGguf(bytes: Uint8Array<ArrayBuffer>) {
  const view = new DataView(bytes.buffer);
  let at = 0;
  const u32 = () => view.getUint32((at += 4) - 4, true);
  const u64 = () => Number(view.getBigUint64((at += 8) - 8, true));
  const string = () => {
    const length = u64();
    return new TextDecoder().decode(bytes.subarray(at, at += length));
  };
  const value = (type: number): unknown => {
    if (type === 4 || type === 5) return u32();
    if (type === 6) return view.getFloat32((at += 4) - 4, true);
    if (type === 8) return string();
    assertEquals(type, 9);
    const inner = u32();
    return Array.from({ length: u64() }, () => value(inner));
  };
  assertEquals(new TextDecoder().decode(bytes.subarray(0, 4)), "GGUF");
  at = 4;
  assertEquals(u32(), 3);
  const [numTensors, numPairs] = [u64(), u64()];
  const metadata = Object.fromEntries(
    Array.from({ length: numPairs }, () => [string(), value(u32())]),
  );
  const infos = Array.from({ length: numTensors }, () => {
    const name = string();
    const shape = Array.from({ length: u32() }, u64).reverse();
    return { name, shape, type: u32(), offset: u64() };
  });
  const data = Math.ceil(at / 32) * 32;
  const tensors = new Map(infos.map(({ name, shape, type, offset }): [string, GgufTensor] => {
    assertEquals(offset % 32, 0, name);
    const count = shape.reduce((a, b) => a * b);
    const begin = data + offset;
    const raw = bytes.slice(begin, begin + count * (type === 0 ? 4 : 2)).buffer;
    const values = type === 0 ? new Float32Array(raw) : Float32Array.from(new Float16Array(raw));
    assertEquals(values.length, count, name);
    return [name, { shape, type, values }];
  }));
  return { metadata, tensors };
}

async function inTempDir(run: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await run(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("randomCheckpoint() has all weights of the model, the same each time, f16 and finite", () => {
  const wanted = shapeModel(SHAPE).weights.flatMap(({ tensors, shapes }) =>
    tensors.map((name, i) => `${name} ${shapes[i]!.join()}`)
  );
  const made = TENSORS.map(({ name, shape }) => `${name} ${shape.join()}`);
  assertEquals(made.toSorted(), wanted.toSorted());
  for (const [i, { values, name }] of randomCheckpoint(CONFIG, 5).entries()) {
    assertEquals(values(), TENSORS[i]!.values(), name);
    assert(new Float16Array(values().buffer).every(Number.isFinite), name);
  }
  assert(randomCheckpoint(CONFIG, 6)[0]!.values().join() !== TENSORS[0]!.values().join());
  const distinct = new Set(TENSORS.map(({ values }) => values().subarray(0, 8).join()));
  assertEquals(distinct.size, TENSORS.length);
});

Deno.test("writeSafetensors() writes what Quire reads", () =>
  inTempDir(async (dir) => {
    await writeSafetensors(dir, SHAPE, TENSORS);
    assertEquals(JSON.parse(await Deno.readTextFile(`${dir}/config.json`)), SHAPE.config);
    const weights = openSafetensors(dir);
    for (const { name, shape, values } of TENSORS) {
      assertEquals(weights.tensor(name).shape, shape, name);
      assertEquals(new Uint16Array(readTensor(weights, name).buffer), values(), name);
    }
    weights.close();
  }));

Deno.test("writeGguf() writes the same numbers, rows of queries and keys interleaved by halves", () =>
  inTempDir(async (dir) => {
    await writeGguf(`${dir}/model.gguf`, CONFIG, TENSORS);
    const { metadata, tensors } = readGguf(await Deno.readFile(`${dir}/model.gguf`));
    assertEquals(metadata["llama.embedding_length"], 64);
    assertEquals(metadata["llama.attention.head_count_kv"], 2);
    assertEquals(metadata["llama.rope.freq_base"], 10_000);
    assertEquals((metadata["tokenizer.ggml.tokens"] as string[]).length, CONFIG.vocabSize);
    assertEquals(tensors.size, TENSORS.length);
    const original = (name: string) =>
      Float32Array.from(
        new Float16Array(TENSORS.find((tensor) => tensor.name === name)!.values().buffer),
      );
    const embed = tensors.get("token_embd.weight")!;
    assertEquals([embed.type, ...embed.shape], [1, 512, 64]);
    assertEquals(embed.values, original("model.embed_tokens.weight"));
    const norm = tensors.get("blk.1.ffn_norm.weight")!;
    assertEquals(norm.type, 0);
    assertEquals(norm.values, original("model.layers.1.post_attention_layernorm.weight"));
    const down = tensors.get("blk.0.ffn_down.weight")!;
    assertEquals(down.shape, [64, 160]);
    assertEquals(down.values, original("model.layers.0.mlp.down_proj.weight"));
    // Head 1 has rows [16, 32) of 16 dims: its pair 3, dims 3 and 3 + 8, become rows 6 and 7.
    const [key, from] = [
      tensors.get("blk.0.attn_k.weight")!.values,
      original("model.layers.0.self_attn.k_proj.weight"),
    ];
    const row = (values: Float32Array, i: number) => values.slice(i * 64, (i + 1) * 64);
    assertEquals(row(key, 16 + 6), row(from, 16 + 3));
    assertEquals(row(key, 16 + 7), row(from, 16 + 3 + 8));
  }));
