import { type CacheGroup, type CacheSpec, groupLayers } from "../core/cache_group.ts";

/** A weight on the device: a matrix, or vectors, one after the other, as one row. */
export interface WeightShape {
  readonly rows: number;
  readonly columns: number;
  /** Vectors are f32 in every format. */
  readonly isVector: boolean;
  /** Whether it has a row per token: an embedding, or the output's matrix; default: false. */
  readonly isVocabulary?: boolean;
  /** Whether it is never quantized, as a router of experts is; default: false. */
  readonly keepsType?: boolean;
}

/** What decides the sizes of a model's KV cache and weights. */
export interface ModelShape {
  readonly name: string;
  /** Longest context the model is made for, tokens. */
  readonly maxModelLen: number;
  /** What each layer keeps, first to last; at least one keeps keys and values. */
  readonly caches: readonly (CacheSpec | undefined)[];
  /** Absent where the family's weights are not known. */
  readonly weights?: readonly WeightShape[];
}

/** The cache groups of a model's layers. */
export function groupsOf({ caches }: Pick<ModelShape, "caches">): CacheGroup[] {
  return groupLayers(caches);
}

/** Positions that a layer reads back, or of its chunk; undefined where it reads all. */
export function windowOf(spec: CacheSpec): number | undefined {
  return "window" in spec ? spec.window : undefined;
}
