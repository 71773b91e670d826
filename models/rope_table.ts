import type {
  DynamicRopeScaling,
  LinearRopeScaling,
  Llama3RopeScaling,
  RopeScaling,
  YarnRopeScaling,
} from "./rope_scaling.ts";

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
  { rotaryDim, theta, scaling, maxPositions, isLong }: RopeTableSpec & {
    readonly maxPositions: number;
    /** Whether of sequences longer than a short context; default: false. */
    readonly isLong?: boolean;
  },
): Float32Array<ArrayBuffer> {
  const half = rotaryDim / 2;
  const frequencies = ropeFrequencies({ rotaryDim, theta, scaling }, isLong);
  const factor = scaling !== undefined && "attentionFactor" in scaling
    ? scaling.attentionFactor
    : 1;
  const table = new Float32Array(maxPositions * rotaryDim);
  for (let position = 0; position < maxPositions; position++) {
    for (let i = 0; i < half; i++) {
      const at = position * rotaryDim + 2 * i;
      table[at] = factor * Math.cos(position * frequencies[i]!);
      table[at + 1] = factor * Math.sin(position * frequencies[i]!);
    }
  }
  return table;
}

/**
 * Radians per position of each pair of elements, f64 `[rotaryDim / 2]`.
 *
 * @param isLong whether of a sequence longer than a short context.
 */
export function ropeFrequencies(
  { rotaryDim, theta, scaling }: RopeTableSpec,
  isLong = false,
): Float64Array {
  const stretched = byPair({ rotaryDim, theta, scaling }, isLong);
  return Float64Array.from(
    { length: rotaryDim / 2 },
    (_, i) => stretched(i, theta ** (-2 * i / rotaryDim)),
  );
}

/** What a pair's frequency becomes. */
function byPair(
  { rotaryDim, theta, scaling }: RopeTableSpec,
  isLong: boolean,
): (i: number, frequency: number) => number {
  if (scaling?.type === "yarn") return yarnRamp(scaling, rotaryDim, theta);
  if (scaling?.type === "longrope") {
    const factors = isLong ? scaling.longFactors : scaling.shortFactors;
    return (i, frequency) => frequency / factors[i]!;
  }
  return (_, frequency) => stretch(frequency, scaling);
}

/**
 * Stretches a frequency for contexts longer than the model was trained on.
 *
 * `linear` divides all alike; `llama3` leaves wavelengths well inside the original context as they
 * are, divides those beyond it, and goes over from one to the other between (Llama 3.1 model card).
 */
function stretch(
  frequency: number,
  scaling: LinearRopeScaling | Llama3RopeScaling | DynamicRopeScaling | undefined,
): number {
  if (scaling === undefined || scaling.type === "dynamic") return frequency;
  if (scaling.type === "linear") return frequency / scaling.factor;
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings } = scaling;
  const turns = originalMaxPositionEmbeddings * frequency / (2 * Math.PI);
  if (turns < lowFreqFactor) return frequency / factor;
  if (turns > highFreqFactor) return frequency;
  const smooth = (turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return (1 - smooth) * frequency / factor + smooth * frequency;
}

/** Of YaRN, the frequency of pair `i` whose frequency was another (equations 17, 18 and 23). */
function yarnRamp(
  { factor, originalMaxPositionEmbeddings, betaFast, betaSlow, isTruncated }: YarnRopeScaling,
  rotaryDim: number,
  theta: number,
): (i: number, frequency: number) => number {
  // The pair, as a real number, that turns so often within the original context.
  const pairOf = (turns: number) =>
    rotaryDim * Math.log(originalMaxPositionEmbeddings / (turns * 2 * Math.PI)) /
    (2 * Math.log(theta));
  const [low, high] = isTruncated
    ? [Math.floor(pairOf(betaFast)), Math.ceil(pairOf(betaSlow))]
    : [pairOf(betaFast), pairOf(betaSlow)];
  const first = Math.max(low, 0);
  const last = Math.min(high, rotaryDim - 1);
  // A ramp of no length is a step.
  const length = first === last ? 0.001 : last - first;
  return (i, frequency) => {
    const share = Math.min(Math.max((i - first) / length, 0), 1);
    return share * frequency / factor + (1 - share) * frequency;
  };
}
