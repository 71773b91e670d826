import type { KvPlanner } from "../http/services.ts";
import { planKv } from "../plan/kv_plan.ts";
import type { ModelShape } from "../plan/model_shape.ts";
import { planJson } from "../plan/plan_json.ts";
import { PRESET_NAMES } from "../plan/presets.ts";
import type { ModelDirectory } from "./model_directory.ts";
import { loadShape, presetShape } from "./model_shape.ts";

/** The planner for the model in `directory`; reads its config.json at the first plan. */
export function createKvPlanner({ dir, name }: ModelDirectory): KvPlanner {
  let served: ModelShape | undefined;
  return {
    presets: PRESET_NAMES,
    plan({ preset, ...options }) {
      const shape = preset === undefined ? served ??= loadShape(dir, name) : presetShape(preset);
      return shape === undefined ? undefined : planJson(planKv(shape, options));
    },
  };
}
