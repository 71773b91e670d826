import type { RandomTensor } from "./random_checkpoint.ts";
import { writeFully } from "./write_fully.ts";

/**
 * Writes `config.json` and `model.safetensors` of a model to `dir`, f16 throughout.
 *
 * The format: the length of a JSON header as u64, the header with each tensor's type, shape and byte
 * range, then the data. One tensor is held in memory at a time.
 */
export async function writeSafetensors(
  dir: string,
  { config }: { readonly config: Readonly<Record<string, unknown>> },
  tensors: readonly RandomTensor[],
): Promise<void> {
  await Deno.writeTextFile(`${dir}/config.json`, JSON.stringify(config));
  let end = 0;
  const header = Object.fromEntries(tensors.map(({ name, shape }) => {
    const begin = end;
    end += 2 * shape.reduce((a, b) => a * b);
    return [name, { dtype: "F16", shape, data_offsets: [begin, end] }];
  }));
  const json = new TextEncoder().encode(JSON.stringify(header));
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(json.byteLength), true);
  using file = await Deno.create(`${dir}/model.safetensors`);
  await writeFully(file, prefix);
  await writeFully(file, json);
  for (const { values } of tensors) await writeFully(file, new Uint8Array(values().buffer));
}
