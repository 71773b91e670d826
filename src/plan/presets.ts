import type { ModelShape } from "./model_shape.ts";

/** Name of the preset that stands for the bundled model. */
export const DEMO_PRESET = "quire-demo";

/** Shapes as the models' published config.json files state them. */
const PRESETS: readonly ModelShape[] = [
  shape(DEMO_PRESET, { maxModelLen: 2048, numLayers: 6, numKvHeads: 2, headDim: 32 }, [
    192,
    6,
    512,
    2048,
    true,
  ]),
  shape("smollm2-135m", { maxModelLen: 8192, numLayers: 30, numKvHeads: 3, headDim: 64 }, [
    576,
    9,
    1536,
    49152,
    true,
  ]),
  shape("qwen3-0.6b", { maxModelLen: 40_960, numLayers: 28, numKvHeads: 8, headDim: 128 }, [
    1024,
    16,
    3072,
    151936,
    true,
  ]),
  shape("llama-3.2-1b", { maxModelLen: 131_072, numLayers: 16, numKvHeads: 8, headDim: 64 }, [
    2048,
    32,
    8192,
    128256,
    true,
  ]),
  shape("tinyllama-1.1b", { maxModelLen: 2048, numLayers: 22, numKvHeads: 4, headDim: 64 }, [
    2048,
    32,
    5632,
    32000,
    false,
  ]),
  shape("llama-2-7b", { maxModelLen: 4096, numLayers: 32, numKvHeads: 32, headDim: 128 }, [
    4096,
    32,
    11008,
    32000,
    false,
  ]),
  shape("llama-3.1-8b", { maxModelLen: 131_072, numLayers: 32, numKvHeads: 8, headDim: 128 }, [
    4096,
    32,
    14336,
    128256,
    false,
  ]),
  shape("llama-3-70b", { maxModelLen: 8192, numLayers: 80, numKvHeads: 8, headDim: 128 }, [
    8192,
    64,
    28672,
    128256,
    false,
  ]),
];

/** Names of the bundled presets, smallest model first. */
export const PRESET_NAMES: readonly string[] = PRESETS.map(({ name }) => name);

/** The preset of that name in any case, or undefined. */
export function findPreset(name: string): ModelShape | undefined {
  return PRESETS.find((preset) => preset.name === name.toLowerCase());
}

type WeightSizes = readonly [
  hiddenSize: number,
  numHeads: number,
  intermediateSize: number,
  vocabSize: number,
  tieWordEmbeddings: boolean,
];

function shape(
  name: string,
  { maxModelLen, ...heads }: {
    maxModelLen: number;
    numLayers: number;
    numKvHeads: number;
    headDim: number;
  },
  [hiddenSize, numHeads, intermediateSize, vocabSize, tieWordEmbeddings]: WeightSizes,
): ModelShape {
  return {
    name,
    maxModelLen,
    groups: [{ kind: "full", ...heads }],
    weights: { hiddenSize, numHeads, intermediateSize, vocabSize, tieWordEmbeddings },
  };
}
