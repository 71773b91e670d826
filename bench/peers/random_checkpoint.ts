import type { ShapeSizes } from "../shapes.ts";

/** A tensor of a random checkpoint; its numbers are made when asked for, the same each time. */
export interface RandomTensor {
  /** The name in a Hugging Face checkpoint. */
  readonly name: string;
  /** Rows and columns, or the length of a vector. */
  readonly shape: readonly number[];
  /** For projections that RoPE follows, the heads whose rows it rotates. */
  readonly ropeHeads?: number;
  /** f16 bits, row-major. */
  readonly values: () => Uint16Array<ArrayBuffer>;
}

/** Distinct values of one tensor: a table makes 135 M of them in a second. */
const TABLE_SIZE = 4096;

/**
 * All tensors of a random Llama with tied embeddings, seeded.
 *
 * Projections keep the size of what they are fed, queries and keys are larger, so that attention
 * looks at few positions, and depends on where these are; embeddings are small beside what the layers
 * add. So a mistake in any part of the forward pass shows in the logits.
 */
export function randomCheckpoint(config: ShapeSizes, seed: number): RandomTensor[] {
  const { hiddenSize: e, numHeads, numKvHeads, headDim, intermediateSize: inner } = config;
  const [queries, keys] = [numHeads * headDim, numKvHeads * headDim];
  let next = seed;
  const matrix = (name: string, shape: readonly [number, number], deviation: number) => {
    const half = deviation * Math.sqrt(3);
    return tensor(name, shape, next++, [-half, half]);
  };
  const norm = (name: string) => tensor(name, [e], next++, [0.5, 1.5]);
  const layer = (i: number): RandomTensor[] => {
    const at = `model.layers.${i}`;
    const [q, k] = [["q", queries], ["k", keys]] as const;
    return [
      norm(`${at}.input_layernorm.weight`),
      ...[q, k].map(([name, rows]) => ({
        ...matrix(`${at}.self_attn.${name}_proj.weight`, [rows, e], 1.5 / Math.sqrt(e)),
        ropeHeads: rows / headDim,
      })),
      matrix(`${at}.self_attn.v_proj.weight`, [keys, e], 1 / Math.sqrt(e)),
      matrix(`${at}.self_attn.o_proj.weight`, [e, queries], 1 / Math.sqrt(queries)),
      norm(`${at}.post_attention_layernorm.weight`),
      matrix(`${at}.mlp.gate_proj.weight`, [inner, e], 1 / Math.sqrt(e)),
      matrix(`${at}.mlp.up_proj.weight`, [inner, e], 1 / Math.sqrt(e)),
      matrix(`${at}.mlp.down_proj.weight`, [e, inner], 1 / Math.sqrt(inner)),
    ];
  };
  return [
    matrix("model.embed_tokens.weight", [config.vocabSize, e], 0.1),
    ...Array.from({ length: config.numLayers }, (_, i) => layer(i)).flat(),
    norm("model.norm.weight"),
  ];
}

function tensor(
  name: string,
  shape: readonly number[],
  seed: number,
  [low, high]: readonly [number, number],
): RandomTensor {
  return {
    name,
    shape,
    values: () => uniformHalves(shape.reduce((a, b) => a * b), seed, low, high),
  };
}

/** f16 bits of `count` numbers spread evenly over `[low, high)`; xorshift32 (Marsaglia 2003). */
function uniformHalves(
  count: number,
  seed: number,
  low: number,
  high: number,
): Uint16Array<ArrayBuffer> {
  const table = new Uint16Array(
    Float16Array.from(
      { length: TABLE_SIZE },
      (_, i) => low + (high - low) * (i + 0.5) / TABLE_SIZE,
    ).buffer,
  );
  const out = new Uint16Array(count);
  let state = (Math.imul(seed + 1, 0x9e3779b9) >>> 0) || 1;
  for (let i = 0; i < count; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    out[i] = table[(state >>> 7) % TABLE_SIZE]!;
  }
  return out;
}
