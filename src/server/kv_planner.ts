import type { ModelFiles } from "../core/model_json.ts";
import type { KvPlanner } from "../http/services.ts";
import { planKv } from "../plan/kv_plan.ts";
import type { ModelShape } from "../plan/model_shape.ts";
import { planJson } from "../plan/plan_json.ts";
import { PRESET_NAMES } from "../plan/presets.ts";
import { loadShape, presetShape } from "./model_shape.ts";

/** The planner for a model; reads its config.json at the first plan. */
export function createKvPlanner(
  { files, name }: { readonly files: ModelFiles; readonly name: string },
): KvPlanner {
  let served: ModelShape | undefined;
  return {
    presets: PRESET_NAMES,
    plan({ preset, ...options }) {
      const shape = preset === undefined ? served ??= loadShape(files, name) : presetShape(preset);
      return shape === undefined ? undefined : planJson(planKv(shape, options));
    },
  };
}
