import { assertEquals } from "@std/assert";
import { bytesPerToken } from "../../src/plan/kv_dtypes.ts";
import { findPreset, PRESET_NAMES } from "../../src/plan/presets.ts";
import { presetShape } from "../../src/server/model_shape.ts";

Deno.test("findPreset() knows each preset in any case, and no other name", () => {
  for (const name of PRESET_NAMES) assertEquals(findPreset(name.toUpperCase())?.name, name);
  assertEquals(findPreset("llama"), undefined);
});

Deno.test("PRESETS have the published sizes per token in f16 and the published contexts", () => {
  const rows = PRESET_NAMES.map((name) => {
    const shape = presetShape(name)!;
    return [name, bytesPerToken(shape, { dtype: "f16" }) / 1024, shape.maxModelLen];
  });
  assertEquals(rows, [
    ["quire-demo", 1.5, 2048],
    ["smollm2-135m", 22.5, 8192],
    ["qwen2.5-0.5b", 12, 32_768],
    ["qwen3-0.6b", 112, 40_960],
    ["llama-3.2-1b", 32, 131_072],
    ["gemma-3-1b", 26, 32_768],
    ["tinyllama-1.1b", 22, 2048],
    ["gemma-2-2b", 104, 8192],
    ["llama-2-7b", 512, 4096],
    ["mistral-7b", 128, 32_768],
    ["llama-3.1-8b", 128, 131_072],
    ["llama-3-70b", 320, 8192],
  ]);
});
