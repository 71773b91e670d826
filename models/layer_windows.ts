import { z } from "zod";
import { StartupError } from "../src/core/errors.ts";
import { count } from "./config_fields.ts";

/** Kinds of layer, as `layer_types` and rotary settings name them. */
export const LAYER_TYPES = ["full_attention", "sliding_attention"] as const;
export type LayerType = (typeof LAYER_TYPES)[number];

/** Fields that say how far back each layer reads, for a family's schema. */
export const WINDOW_FIELDS = {
  sliding_window: count(16_777_216).nullish(),
  layer_types: z.array(z.enum(LAYER_TYPES, `known are ${LAYER_TYPES.join(", ")}`)).max(512)
    .nullish(),
};

/** The window of files that name none, not even null. */
export const DEFAULT_WINDOW = 4096;

const WindowJson = z.object({
  num_hidden_layers: z.number(),
  ...WINDOW_FIELDS,
});

/**
 * The type of each layer, first to last: as `layer_types` has it, or where a config.json has none
 * as its family decides.
 *
 * @throws {StartupError} for a list of another length.
 */
export function layerTypes(
  { num_hidden_layers: numLayers, layer_types: types }: z.output<typeof WindowJson>,
  slides: (layer: number) => boolean,
  file: string,
): readonly LayerType[] {
  if (types === undefined || types === null) {
    return Array.from(
      { length: numLayers },
      (_, layer) => slides(layer) ? "sliding_attention" : "full_attention",
    );
  }
  if (types.length === numLayers) return types;
  throw new StartupError(
    `${file}: field "layer_types" has ${types.length} entries: must have one for each of ` +
      `"num_hidden_layers", ${numLayers}`,
  );
}

/**
 * The window of each layer, in positions; undefined for a layer that reads all.
 *
 * @throws {StartupError} for a layer that slides where the file has no `sliding_window`.
 */
export function layerWindows(
  types: readonly LayerType[],
  window: number | null | undefined,
  file: string,
): readonly (number | undefined)[] {
  return types.map((type) => {
    if (type === "full_attention") return undefined;
    if (window !== undefined && window !== null) return window;
    throw new StartupError(`${file}: field "sliding_window" is missing, which its layers ask for`);
  });
}
