import { f32ToF16Bits } from "../src/base/float_bits.ts";
import {
  GGUF_ALIGNMENT,
  GGUF_TYPE,
  type GgufEntry,
  ggufHeader,
  ggufName,
  type Metadata,
} from "../tests/support/gguf_writer.ts";
import { randomCheckpoint, type RandomTensor } from "./peers/random_checkpoint.ts";
import { writeFully } from "./peers/write_fully.ts";
import type { ShapeSizes } from "./shapes.ts";

/** A type of GGUF's blocks, as far as random ones of sane size are made of it. */
interface BlockType {
  readonly weights: number;
  readonly bytes: number;
  /** Bytes of a block that are f16 units. */
  readonly units: readonly number[];
}

const BLOCKS = {
  Q8_0: { weights: 32, bytes: 34, units: [0] },
  Q4_K: { weights: 256, bytes: 144, units: [0, 2] },
} as const satisfies Readonly<Record<string, BlockType>>;

/** Blocks that differ; more of them repeat. */
const NUM_PATTERN_BLOCKS = 4096;
const UNIT = 2 ** -10;

/** Writes a Llama of these sizes as a GGUF file with random blocks of a type, norms in f32. */
export async function writeRandomGguf(
  path: string,
  sizes: ShapeSizes,
  type: keyof typeof BLOCKS,
): Promise<void> {
  const { weights, bytes } = BLOCKS[type];
  const tensors = randomCheckpoint(sizes, 1);
  const entries = tensors.map(({ name, shape }): GgufEntry => {
    const count = shape.reduce((a, b) => a * b);
    return shape.length === 1
      ? { name: ggufName(name), shape, type: GGUF_TYPE.F32, numBytes: 4 * count }
      : { name: ggufName(name), shape, type: GGUF_TYPE[type], numBytes: count / weights * bytes };
  });
  const header = ggufHeader(metadataOf(sizes), entries);
  const pattern = patternOf(BLOCKS[type]);
  using file = await Deno.create(path);
  await writeFully(file, header);
  let at = header.byteLength;
  for (const [i, tensor] of tensors.entries()) {
    const padding = -at & (GGUF_ALIGNMENT - 1);
    await writeFully(file, new Uint8Array(padding));
    const { shape, numBytes } = entries[i]!;
    if (shape.length === 1) await writeFully(file, onesOf(tensor));
    else await repeat(file, pattern, numBytes);
    at += padding + numBytes;
  }
}

function metadataOf(sizes: ShapeSizes): Record<string, Metadata> {
  return {
    "general.architecture": "llama",
    "llama.vocab_size": { u32: sizes.vocabSize },
    "llama.context_length": { u32: sizes.maxPositionEmbeddings },
    "llama.embedding_length": { u32: sizes.hiddenSize },
    "llama.block_count": { u32: sizes.numLayers },
    "llama.feed_forward_length": { u32: sizes.intermediateSize },
    "llama.attention.head_count": { u32: sizes.numHeads },
    "llama.attention.head_count_kv": { u32: sizes.numKvHeads },
    "llama.attention.layer_norm_rms_epsilon": { f32: sizes.rmsNormEps },
    "llama.rope.freq_base": { f32: sizes.ropeTheta },
  };
}

function onesOf({ shape }: RandomTensor): Uint8Array {
  return new Uint8Array(new Float32Array(shape[0]!).fill(1).buffer);
}

/** Random bytes, and units that keep all weights small. */
function patternOf({ bytes, units }: BlockType): Uint8Array {
  const pattern = new Uint8Array(NUM_PATTERN_BLOCKS * bytes);
  let state = 1;
  for (let i = 0; i < pattern.length; i++) {
    state = Math.imul(state, 1_664_525) + 1_013_904_223 | 0;
    pattern[i] = state >>> 24;
  }
  const view = new DataView(pattern.buffer);
  for (let block = 0; block < NUM_PATTERN_BLOCKS; block++) {
    for (const at of units) view.setUint16(block * bytes + at, f32ToF16Bits(UNIT), true);
  }
  return pattern;
}

async function repeat(file: Deno.FsFile, pattern: Uint8Array, numBytes: number): Promise<void> {
  for (let left = numBytes; left > 0; left -= pattern.length) {
    await writeFully(file, pattern.subarray(0, Math.min(left, pattern.length)));
  }
}
