import type { RopeScaling } from "./rope_config.ts";

/** A table of rotary angles. */
export interface RopeTableSpec {
  /** Elements of a head that are rotated; even. */
  readonly rotaryDim: number;
  /** Base of the frequencies. */
  readonly theta: number;
  /** Absent: the frequencies are used as they are. */
  readonly scaling?: RopeScaling | undefined;
}

/**
 * Cosines and sines of every position, f32 `[maxPositions, rotaryDim / 2, 2]`, row-major.
 *
 * Computed once in f64: WGSL promises the accuracy of `sin` only within one turn, and positions run
 * to many thousands (RoPE, Su 2021, 2104.09864).
 */
export function ropeTable(
  { rotaryDim, theta, scaling, maxPositions }: RopeTableSpec & { readonly maxPositions: number },
): Float32Array<ArrayBuffer> {
  const half = rotaryDim / 2;
  const frequencies = Float64Array.from(
    { length: half },
    (_, i) => scaleFrequency(theta ** (-i / half), scaling),
  );
  const table = new Float32Array(maxPositions * rotaryDim);
  for (let position = 0; position < maxPositions; position++) {
    for (let i = 0; i < half; i++) {
      const at = position * rotaryDim + 2 * i;
      table[at] = Math.cos(position * frequencies[i]!);
      table[at + 1] = Math.sin(position * frequencies[i]!);
    }
  }
  return table;
}

/**
 * Stretches a frequency for contexts longer than the model was trained on.
 *
 * `linear` divides all alike; `llama3` leaves wavelengths well inside the original context as they
 * are, divides those beyond it, and goes over from one to the other between (Llama 3.1 model card).
 */
function scaleFrequency(frequency: number, scaling: RopeScaling | undefined): number {
  if (scaling === undefined) return frequency;
  if (scaling.type === "linear") return frequency / scaling.factor;
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings } = scaling;
  const turns = originalMaxPositionEmbeddings * frequency / (2 * Math.PI);
  if (turns < lowFreqFactor) return frequency / factor;
  if (turns > highFreqFactor) return frequency;
  const smooth = (turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return (1 - smooth) * frequency / factor + smooth * frequency;
}
