import { nearestName } from "../base/edit_distance.ts";
import { StartupError } from "../core/errors.ts";
import type { PlanConfig } from "../core/plan_config.ts";
import { planKv } from "../plan/kv_plan.ts";
import type { ModelShape } from "../plan/model_shape.ts";
import { planJson } from "../plan/plan_json.ts";
import { planText } from "../plan/plan_text.ts";
import { DEMO_PRESET, PRESET_NAMES } from "../plan/presets.ts";
import { parseLengths } from "../plan/request_lengths.ts";
import type { Traffic } from "../plan/traffic_plan.ts";
import { findModelSource } from "../weights/model_source.ts";
import { isModelPath, type ModelDirectory, modelInDirectory } from "./model_directory.ts";
import { loadShape, presetShape } from "./model_shape.ts";

/** Largest file of lengths that is read, in bytes. */
const MAX_LENGTHS_BYTES = 64 * 2 ** 20;

/**
 * What `quire plan` prints.
 *
 * @param named the folder with the config.json, or the GGUF file, for a model by name.
 * @throws {StartupError} on a model that is neither a preset nor on disk, and on a file of lengths
 * that cannot be read.
 */
export function planCommand(config: PlanConfig, named?: ModelDirectory): string {
  const { memory, blockSize, maxNumBatchedTokens, maxModelLen, lengths } = config;
  const { kvCacheF16EdgeLayers: f16EdgeLayers } = config;
  const shape = named === undefined
    ? findShape(config.model ?? DEMO_PRESET)
    : loadShape(findModelSource(named.dir).configFiles(), named.name);
  const plan = planKv(shape, {
    memoryBytes: memory,
    blockSize,
    maxNumBatchedTokens,
    ...(maxModelLen === undefined ? {} : { maxModelLen }),
    ...(f16EdgeLayers === undefined ? {} : { f16EdgeLayers }),
    ...(lengths === undefined ? {} : { traffic: [readTraffic(lengths)] }),
  });
  return config.json ? JSON.stringify(planJson(plan)) : planText(plan);
}

function findShape(model: string): ModelShape {
  const preset = presetShape(model);
  if (preset !== undefined) return preset;
  if (isModelPath(model)) {
    const { dir, name } = modelInDirectory(model);
    return loadShape(findModelSource(dir).configFiles(), name);
  }
  const nearest = nearestName(model.toLowerCase(), PRESET_NAMES);
  throw new StartupError(
    `--model ${
      JSON.stringify(model)
    } is neither a directory with a config.json, nor a GGUF file, nor a preset: ` +
      (nearest === undefined
        ? `presets are ${PRESET_NAMES.join(", ")}`
        : `did you mean ${nearest}?`),
  );
}

function readTraffic(file: string): Traffic {
  const { isFile, size } = statOf(file) ?? {};
  if (isFile !== true) throw new StartupError(`--lengths ${JSON.stringify(file)} is not a file`);
  if (size! > MAX_LENGTHS_BYTES) {
    throw new StartupError(
      `--lengths ${JSON.stringify(file)} has ${size} bytes, over the limit of ${MAX_LENGTHS_BYTES}`,
    );
  }
  return { name: file, requests: parseLengths(Deno.readTextFileSync(file), file) };
}

function statOf(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch {
    return undefined;
  }
}
