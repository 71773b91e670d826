import { modelFile } from "../../src/core/model_json.ts";
import { openSafetensors } from "../../src/weights/safetensors.ts";
import { DEMO_DIR } from "./demo_engine.ts";
import { readTensor } from "./read_tensor.ts";

/** The token whose V overflows f16. */
export const OVERFLOWING_TOKEN = 1999;

/** The dim of the hidden state that this token alone has, and no layer writes. */
const DIM = 100;
const HIDDEN = 192;
const F16_ONE = 0x3c00;
/** 60,000 in f16. */
const F16_LARGE = 0x7b53;

/** Changes of one tensor's f16 bits, in place. */
type Edit = (bits: Uint16Array) => void;

/**
 * Writes the bundled model to `dir`, so changed that V of {@link OVERFLOWING_TOKEN} is some 800,000
 * in `layer`, with all weights finite. Other tokens lack one dim of the hidden state, and nothing
 * else is changed for them: what they compute does not depend on `layer`.
 */
export function writeOverflowingModel(dir: string, layer: number): void {
  writeEditedDemo(dir, (name) => {
    if (name === "model.embed_tokens.weight") return embeddingEdit;
    if (name.endsWith("o_proj.weight") || name.endsWith("down_proj.weight")) return rowEdit;
    if (!name.startsWith(`model.layers.${layer}.`)) return undefined;
    if (name.endsWith("input_layernorm.weight")) return (bits) => bits[DIM] = F16_ONE;
    if (name.endsWith("v_proj.weight")) return (bits) => bits[3 * HIDDEN + DIM] = F16_LARGE;
    return undefined;
  });
}

/** Writes the bundled model to `dir` with some tensors changed. */
export function writeEditedDemo(dir: string, editOf: (name: string) => Edit | undefined): void {
  for (
    const name of [
      "config.json",
      "generation_config.json",
      "tokenizer.json",
      "tokenizer_config.json",
    ]
  ) {
    Deno.copyFileSync(modelFile(DEMO_DIR, name), `${dir}/${name}`);
  }
  const file = Deno.readFileSync(modelFile(DEMO_DIR, "model.safetensors"));
  const dataStart = 8 + Number(new DataView(file.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, dataStart)));
  const weights = openSafetensors(DEMO_DIR);
  for (const name of weights.names()) {
    const edit = editOf(name);
    if (edit === undefined) continue;
    const bytes = readTensor(weights, name);
    edit(new Uint16Array(bytes.buffer));
    file.set(bytes, dataStart + header[name].data_offsets[0]);
  }
  weights.close();
  Deno.writeFileSync(`${dir}/model.safetensors`, file);
}

function embeddingEdit(bits: Uint16Array): void {
  for (let at = DIM; at < bits.length; at += HIDDEN) bits[at] = 0;
  const own = bits.subarray(OVERFLOWING_TOKEN * HIDDEN, (OVERFLOWING_TOKEN + 1) * HIDDEN);
  own.fill(0);
  own[DIM] = F16_LARGE;
}

/** Of a matrix [HIDDEN, columns], the row that writes the dim. */
function rowEdit(bits: Uint16Array): void {
  const columns = bits.length / HIDDEN;
  bits.fill(0, DIM * columns, (DIM + 1) * columns);
}
