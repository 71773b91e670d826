/** A llama2.c checkpoint (f32, legacy header) written anew as a Hugging Face model directory. */

interface Header {
  readonly dim: number;
  readonly hidden: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly vocabSize: number;
  readonly maxLen: number;
}

type Tensor = readonly [name: string, shape: readonly number[], data: Float32Array];

/** Writes `config.json` and `model.safetensors` for the checkpoint in `file` to `dir`. */
export async function convertLlama2c(file: string, dir: string): Promise<void> {
  const { buffer } = await Deno.readFile(file);
  const [dim, hidden, numLayers, numHeads, numKvHeads, vocabSize, maxLen] = new Int32Array(
    buffer,
    0,
    7,
  ) as unknown as number[];
  const header = {
    dim: dim!,
    hidden: hidden!,
    numLayers: numLayers!,
    numHeads: numHeads!,
    numKvHeads: numKvHeads!,
    vocabSize: vocabSize!,
    maxLen: maxLen!,
  };
  await Deno.writeFile(`${dir}/model.safetensors`, toSafetensors(tensors(buffer, header)));
  await Deno.writeTextFile(
    `${dir}/config.json`,
    JSON.stringify({
      model_type: "llama",
      hidden_size: header.dim,
      intermediate_size: header.hidden,
      num_hidden_layers: header.numLayers,
      num_attention_heads: header.numHeads,
      num_key_value_heads: header.numKvHeads,
      vocab_size: header.vocabSize,
      max_position_embeddings: header.maxLen,
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      tie_word_embeddings: true,
    }),
  );
}

function tensors(buffer: ArrayBuffer, header: Header): Tensor[] {
  const { dim, hidden, numLayers, numHeads, numKvHeads, vocabSize } = header;
  const headDim = dim / numHeads;
  const kvDim = numKvHeads * headDim;
  let at = 28;
  const take = (count: number) => {
    const data = new Float32Array(buffer, at, count);
    at += 4 * count;
    return data;
  };
  const perLayer = (rows: number, columns = 1) =>
    Array.from({ length: numLayers }, () => take(rows * columns));
  const embed = take(vocabSize * dim);
  const attentionNorm = perLayer(dim);
  const q = perLayer(dim, dim).map((w) => halvePairs(w, headDim, dim));
  const k = perLayer(kvDim, dim).map((w) => halvePairs(w, headDim, dim));
  const v = perLayer(kvDim, dim);
  const o = perLayer(dim, dim);
  const mlpNorm = perLayer(dim);
  const gate = perLayer(hidden, dim);
  const down = perLayer(dim, hidden);
  const up = perLayer(hidden, dim);
  const all: Tensor[] = [
    ["model.embed_tokens.weight", [vocabSize, dim], embed],
    ["model.norm.weight", [dim], take(dim)],
  ];
  for (let layer = 0; layer < numLayers; layer++) {
    const add = (name: string, shape: readonly number[], list: readonly Float32Array[]) =>
      all.push([`model.layers.${layer}.${name}.weight`, shape, list[layer]!]);
    add("input_layernorm", [dim], attentionNorm);
    add("self_attn.q_proj", [dim, dim], q);
    add("self_attn.k_proj", [kvDim, dim], k);
    add("self_attn.v_proj", [kvDim, dim], v);
    add("self_attn.o_proj", [dim, dim], o);
    add("post_attention_layernorm", [dim], mlpNorm);
    add("mlp.gate_proj", [hidden, dim], gate);
    add("mlp.up_proj", [hidden, dim], up);
    add("mlp.down_proj", [dim, hidden], down);
  }
  return all;
}

/**
 * llama2.c rotates neighbours (2i, 2i + 1), these checkpoints (i, i + headDim / 2): reorders the
 * rows.
 */
function halvePairs(weights: Float32Array, headDim: number, columns: number): Float32Array {
  const rows = weights.length / columns;
  const out = new Float32Array(weights.length);
  for (let row = 0; row < rows; row++) {
    const i = row % headDim;
    const source = row - i + (i < headDim / 2 ? 2 * i : 2 * (i - headDim / 2) + 1);
    out.set(weights.subarray(source * columns, (source + 1) * columns), row * columns);
  }
  return out;
}

function toSafetensors(list: readonly Tensor[]): Uint8Array {
  let end = 0;
  const header = Object.fromEntries(list.map(([name, shape, data]) => {
    const begin = end;
    end += data.byteLength;
    return [name, { dtype: "F32", shape, data_offsets: [begin, end] }];
  }));
  const json = new TextEncoder().encode(JSON.stringify(header));
  const out = new Uint8Array(8 + json.length + end);
  new DataView(out.buffer).setBigUint64(0, BigInt(json.length), true);
  out.set(json, 8);
  for (const [name, , data] of list) {
    const at = 8 + json.length + header[name]!.data_offsets[0]!;
    out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
  }
  return out;
}
