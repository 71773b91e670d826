/** How far back the layers of a group read, which decides what a sequence must keep. */
export type AttentionKind = "full" | "sliding_window" | "chunked_local";

/** Layers of one model with the same kind of attention and the same size of cache. */
export interface LayerGroup {
  readonly kind: AttentionKind;
  readonly numLayers: number;
  readonly numKvHeads: number;
  /** Elements of one head's key, and of its value. */
  readonly headDim: number;
  /** Positions that a query sees, itself included (sliding window), or positions per chunk. */
  readonly window?: number;
}

/** What decides the size of a model's weights, beside its groups. */
export interface WeightShape {
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Query heads. */
  readonly numHeads: number;
  /** Width of the MLP. */
  readonly intermediateSize: number;
  readonly vocabSize: number;
  /** Whether the output projection is the embedding table. */
  readonly tieWordEmbeddings: boolean;
}

/** What decides the sizes of a model's KV cache and weights. */
export interface ModelShape {
  readonly name: string;
  /** Longest context the model is made for, tokens. */
  readonly maxModelLen: number;
  /** At least one; each layer is in exactly one. The first layer is in the first. */
  readonly groups: readonly LayerGroup[];
  /** Index of the group that the last layer is in; default: the last. */
  readonly lastGroup?: number;
  /** Absent where the family's weights are not known. */
  readonly weights?: WeightShape;
}

/** Layers of all groups together. */
export function numLayersOf({ groups }: ModelShape): number {
  return groups.reduce((sum, { numLayers }) => sum + numLayers, 0);
}
