import { parseModel } from "../../models/registry.ts";
import { findModelSource } from "../../src/weights/model_source.ts";
import { safetensorsFile, type TensorFixture } from "../weights/checkpoint_files.ts";
import { smallGguf } from "../weights/gguf/small_gguf.ts";
import { noise } from "./agreement.ts";

/** The small files of a model of one layer with a byte-level vocabulary, by name. */
export function smallModelFiles(): Record<string, string> {
  const path = Deno.makeTempFileSync({ suffix: ".gguf" });
  try {
    Deno.writeFileSync(path, smallGguf());
    const files = findModelSource(path).textFiles();
    return typeof files === "string" ? {} : { ...files.texts };
  } finally {
    Deno.removeSync(path);
  }
}

/** The tensors that a config.json asks for, of random numbers in f32, f16 and bf16 in turns. */
export function smallTensorsOf(config: unknown): Record<string, TensorFixture> {
  const tensors: Record<string, TensorFixture> = {};
  for (const spec of parseModel(config).weights) {
    for (const [i, name] of spec.tensors.entries()) {
      const shape = spec.shapes[i]!;
      const count = shape.reduce((a, b) => a * b);
      const seed = Object.keys(tensors).length;
      const values = shape.length === 1
        ? noise(count, seed, 0.5).map((value) => 1 + value)
        : noise(count, seed, 2 / Math.sqrt(shape.at(-1)!));
      tensors[name] = { shape, ...elements(values, seed) };
    }
  }
  return tensors;
}

function elements(
  values: Float32Array<ArrayBuffer>,
  seed: number,
): Pick<TensorFixture, "dtype" | "bytes"> {
  if (seed % 3 === 0) return { dtype: "F32", bytes: new Uint8Array(values.buffer) };
  if (seed % 3 === 1) {
    return { dtype: "F16", bytes: new Uint8Array(new Float16Array(values).buffer) };
  }
  const halves = Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16);
  return { dtype: "BF16", bytes: new Uint8Array(halves.buffer) };
}

/** A whole small model: its small files, and its weights in one file or with an index in two. */
export function smallCheckpoint(
  { isSharded = false, ...changes }: { isSharded?: boolean } & Record<string, unknown> = {},
): Record<string, Uint8Array | string> {
  const files = smallModelFiles();
  const config = { ...JSON.parse(files["config.json"]!), ...changes };
  const tensors = smallTensorsOf(config);
  const texts = { ...files, "config.json": JSON.stringify(config) };
  if (!isSharded) return { ...texts, "model.safetensors": safetensorsFile(tensors) };
  const shardOf = (i: number) => `model-0000${i % 2 + 1}-of-00002.safetensors`;
  const entries = Object.entries(tensors);
  const part = (which: number) => Object.fromEntries(entries.filter((_, i) => i % 2 === which));
  const map = Object.fromEntries(entries.map(([name], i) => [name, shardOf(i)]));
  return {
    ...texts,
    "model.safetensors.index.json": JSON.stringify({
      metadata: { total_size: 1 },
      weight_map: map,
    }),
    [shardOf(0)]: safetensorsFile(part(0)),
    [shardOf(1)]: safetensorsFile(part(1)),
  };
}
