import { z } from "zod";
import { StartupError } from "./errors.ts";
import { KV_CACHE_SETTINGS } from "./settings/kv_cache.ts";
import { MODEL_SETTINGS } from "./settings/model.ts";
import { RUNTIME_SETTINGS } from "./settings/runtime.ts";
import { SCHEDULER_SETTINGS } from "./settings/scheduler.ts";
import { SERVER_SETTINGS } from "./settings/server.ts";

/**
 * The one definition of every setting of `quire serve`, one group of `--help` per file of
 * `settings/`. Flags, `QUIRE_...` variables, bounds, defaults and `--help` are derived from it
 * (`flags.ts`, `help.ts`): a field added there is a flag everywhere.
 */
export const ConfigSchema = z.object({
  ...MODEL_SETTINGS,
  ...SERVER_SETTINGS,
  ...KV_CACHE_SETTINGS,
  ...SCHEDULER_SETTINGS,
  ...RUNTIME_SETTINGS,
});

/** What every command takes that runs a model: which weights, in which memory, on which device. */
export const ENGINE_SETTINGS = {
  model: true,
  maxModelLen: true,
  quantization: true,
  quantizationGroupSize: true,
  quantizationEmbedding: true,
  int8Activations: true,
  blockSize: true,
  numGpuBlocksOverride: true,
  gpuMemoryBytes: true,
  kvCacheMemoryBytes: true,
  kvCacheDtype: true,
  kvCacheF16EdgeLayers: true,
  maxNumBatchedTokens: true,
  device: true,
  gpuBackend: true,
  tuningStore: true,
} as const;

/** Every setting, checked and deeply frozen. */
export type Settings =
  & Readonly<Omit<z.output<typeof ConfigSchema>, ListSetting>>
  & { readonly [name in ListSetting]: readonly string[] };

type ListSetting = "servedModelName" | "apiKey" | "adminKey" | "allowedHosts" | "corsOrigins";

/**
 * Refuses int8 activations beside plain weights: only codes are multiplied with codes.
 *
 * @throws {StartupError}
 */
export function checkInt8Activations(
  { quantization, int8Activations }: Pick<Settings, "quantization" | "int8Activations">,
): void {
  if (quantization !== "none" || int8Activations !== "on") return;
  throw new StartupError(
    "--int8-activations on needs quantized weights: give --quantization int8 or int4 with it",
  );
}
