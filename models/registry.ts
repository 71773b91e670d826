import { StartupError } from "../src/core/errors.ts";
import { llama } from "./llama.ts";
import { KNOWN_MODEL_TYPES } from "./model_config.ts";
import type { ModelFamily } from "./model_family.ts";

const FAMILIES: Readonly<Record<(typeof KNOWN_MODEL_TYPES)[number], ModelFamily>> = {
  llama,
  qwen3: llama,
};

/** The architecture of a `model_type`. @throws {StartupError} naming the known ones. */
export function modelFamily(modelType: string): ModelFamily {
  const family = (FAMILIES as Readonly<Record<string, ModelFamily>>)[modelType];
  if (family !== undefined) return family;
  throw new StartupError(
    `model_type "${modelType}" is not supported; known are ${KNOWN_MODEL_TYPES.join(", ")}`,
  );
}
