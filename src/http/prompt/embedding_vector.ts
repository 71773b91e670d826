import { RequestError } from "../../core/errors.ts";
import type { EmbeddingForm, ServedModel } from "../services.ts";

/**
 * How the served model embeds.
 *
 * @throws {RequestError} that says why it cannot.
 */
export function embeddingOf({ embedding, names }: ServedModel): EmbeddingForm {
  if (embedding !== undefined && "pooling" in embedding) return embedding;
  const why = embedding?.unsupported ?? "it is not known how its texts become vectors";
  throw new RequestError(
    `The model ${
      names[0]
    } has no embeddings here: ${why}; --pooling mean, last or cls sets one of ` +
      `the ways that are supported`,
    { code: "unsupported_model", param: "model" },
  );
}

/** The first `dimensions` elements, with a length of 1 where asked for. The sum is in f64. */
export function vectorOf(
  vector: Float32Array,
  { dimensions, isNormalized }: { readonly dimensions: number; readonly isNormalized: boolean },
): Float32Array {
  const cut = vector.subarray(0, dimensions);
  if (!isNormalized) return cut;
  const length = Math.sqrt(cut.reduce((sum, value) => sum + value * value, 0));
  return length === 0 ? cut : cut.map((value) => value / length);
}
