import { z } from "zod";
import { StartupError } from "../core/errors.ts";

const span = z.int().min(1).max(16_777_216).nullish();
const layerCount = z.int().min(1).max(512).nullish();

/** Fields of a config.json that say how far back each layer reads; families use different ones. */
export const LayerKindsJson = z.object({
  layer_types: z.array(z.string()).max(512).nullish(),
  sliding_window: span,
  use_sliding_window: z.boolean().nullish(),
  sliding_window_pattern: layerCount,
  max_window_layers: z.int().min(0).max(512).nullish(),
  attention_chunk_size: span,
});
type LayerKindsJson = z.output<typeof LayerKindsJson>;

/** The kind of one layer. */
export type LayerKind =
  | { readonly kind: "full" }
  | { readonly kind: "sliding_window" | "chunked_local"; readonly window: number };

const FULL: LayerKind = { kind: "full" };

/**
 * The kind of each layer, first to last. The first of these that a config.json has decides:
 *
 *     layer_types              each layer's kind
 *     no sliding_window in use all layers are full
 *     sliding_window_pattern   every so many layers one is full, the others slide
 *     use_sliding_window       the layers from max_window_layers on slide, the first are full
 *     else                     all slide
 *
 * @throws {StartupError} on a layer that keeps no keys and values, and on a window that is missing.
 */
export function layerKinds(
  json: LayerKindsJson,
  numLayers: number,
  file: string,
): readonly LayerKind[] {
  if (json.layer_types !== undefined && json.layer_types !== null) {
    return fromLayerTypes(json, json.layer_types, { numLayers, file });
  }
  const layers = Array.from({ length: numLayers }, (_, layer) => layer);
  const { sliding_window: window, use_sliding_window: inUse } = json;
  if (window === undefined || window === null || inUse === false) return layers.map(() => FULL);
  const sliding: LayerKind = { kind: "sliding_window", window };
  const pattern = json.sliding_window_pattern;
  if (pattern !== undefined && pattern !== null) {
    return layers.map((layer) => (layer + 1) % pattern === 0 ? FULL : sliding);
  }
  const firstSliding = inUse === true ? json.max_window_layers ?? 0 : 0;
  return layers.map((layer) => layer < firstSliding ? FULL : sliding);
}

function fromLayerTypes(
  json: LayerKindsJson,
  types: readonly string[],
  { numLayers, file }: { numLayers: number; file: string },
): readonly LayerKind[] {
  if (types.length !== numLayers) {
    throw new StartupError(
      `${file}: field "layer_types" has ${types.length} entries: must have one for each of ` +
        `"num_hidden_layers", ${numLayers}`,
    );
  }
  const windowed = (
    kind: "sliding_window" | "chunked_local",
    field: "sliding_window" | "attention_chunk_size",
  ) => {
    const window = json[field];
    if (window !== undefined && window !== null) return { kind, window };
    throw new StartupError(`${file}: field "${field}" is missing, which "layer_types" asks for`);
  };
  return types.map((type) => {
    if (type === "full_attention") return FULL;
    if (type === "sliding_attention") return windowed("sliding_window", "sliding_window");
    if (type === "chunked_attention") return windowed("chunked_local", "attention_chunk_size");
    throw new StartupError(
      `${file}: field "layer_types" has ${JSON.stringify(type.slice(0, 80))}: planned are ` +
        `full_attention, sliding_attention and chunked_attention`,
    );
  });
}
