import { z } from "zod";
import { DEFAULT_WINDOW, layerTypes, layerWindows, WINDOW_FIELDS } from "./layer_windows.ts";

/** Fields by which Qwen's dense models choose the layers with a window; none at first. */
export const QWEN_WINDOW_FIELDS = {
  ...WINDOW_FIELDS,
  use_sliding_window: z.boolean().default(false),
  max_window_layers: z.int().min(0).max(512).default(28),
};

const QwenWindowJson = z.object({ num_hidden_layers: z.number(), ...QWEN_WINDOW_FIELDS });

/**
 * The window of each layer of a dense Qwen: none at all unless `use_sliding_window`; then the
 * layers from `max_window_layers` on, or those that `layer_types` names.
 *
 * @throws {StartupError} as {@link layerTypes} and {@link layerWindows}.
 */
export function qwenWindows(
  fields: z.output<typeof QwenWindowJson>,
  file: string,
): readonly (number | undefined)[] {
  const { use_sliding_window: inUse, max_window_layers: firstSliding, sliding_window } = fields;
  const types = layerTypes(fields, (layer) => inUse && layer >= firstSliding, file);
  if (!inUse) return types.map(() => undefined);
  return layerWindows(types, sliding_window === undefined ? DEFAULT_WINDOW : sliding_window, file);
}
