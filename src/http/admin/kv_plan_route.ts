import type { Handler } from "hono";
import { parseByteSize } from "../../base/byte_size.ts";
import { nearestName } from "../../base/edit_distance.ts";
import { RequestError } from "../../core/errors.ts";
import { invalid, quoted } from "../refusals.ts";
import { requireReady } from "../served_model.ts";
import type { KvPlanner, Services } from "../services.ts";

/**
 * `GET /admin/kv/plan?memory=8GiB&preset=NAME`: how many blocks, tokens and sequences KV memory of
 * a size holds, as `quire plan --json` prints it. Without `memory` the size is the running pool's,
 * without `preset` the model is the one served; blocks, steps and element type are the server's
 * own.
 */
export function kvPlanRoute({ engine, kvPlanner }: Services): Handler {
  return (c) => {
    const info = requireReady(engine);
    const { blockSize, maxNumBatchedTokens, kvCacheDtype, kvCacheF16EdgeLayers } = info;
    const memory = c.req.query("memory");
    const preset = c.req.query("preset");
    const plan = kvPlanner.plan({
      memoryBytes: memory === undefined ? info.kvCacheBytes : readMemory(memory),
      blockSize,
      maxNumBatchedTokens,
      dtype: kvCacheDtype,
      ...(kvCacheF16EdgeLayers === undefined ? {} : { f16EdgeLayers: kvCacheF16EdgeLayers }),
      ...(preset === undefined ? { maxModelLen: info.maxModelLen } : { preset }),
    });
    if (plan === undefined) throw noSuchPreset(preset ?? "", kvPlanner);
    return c.json(plan);
  };
}

function readMemory(text: string): number {
  const bytes = parseByteSize(text);
  if (bytes !== undefined && bytes >= 1 && Number.isSafeInteger(bytes)) return bytes;
  throw invalid(
    "memory",
    `memory must be a size in bytes from 1 to ${Number.MAX_SAFE_INTEGER}, such as 512MiB, ` +
      `got ${quoted(text)}`,
  );
}

function noSuchPreset(name: string, { presets }: KvPlanner): RequestError {
  const nearest = nearestName(name.slice(0, 100), presets);
  const hint = nearest === undefined ? "" : `: did you mean ${nearest}?`;
  return invalid(
    "preset",
    `preset must be one of ${presets.join(", ")}, got ${quoted(name)}${hint}`,
  );
}
