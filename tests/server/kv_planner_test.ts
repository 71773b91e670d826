import { assertEquals } from "@std/assert";
import { createKvPlanner } from "../../src/server/kv_planner.ts";

const QUERY = {
  memoryBytes: 2 ** 20,
  blockSize: 16,
  maxNumBatchedTokens: 512,
  maxModelLen: 1024,
  dtype: "f32",
} as const;

Deno.test("createKvPlanner() plans for the served model under its name, with what is asked", () => {
  const plan = createKvPlanner({ files: "models/demo", name: "served" }).plan(QUERY);
  assertEquals([plan?.model, plan?.max_model_len, plan?.dtype], ["served", 1024, "f32"]);
  const [f16] = plan?.dtypes as Record<string, unknown>[];
  assertEquals([f16?.bytes_per_token, f16?.num_blocks], [1536, Math.floor(2 ** 20 / 24_576)]);
});

Deno.test("createKvPlanner() plans for its presets, and for no others", () => {
  const planner = createKvPlanner({ files: "nowhere", name: "served" });
  for (const preset of planner.presets) {
    assertEquals(planner.plan({ ...QUERY, preset })?.model, preset);
  }
  assertEquals(planner.plan({ ...QUERY, preset: "served" }), undefined);
});
