import { assertEquals, assertThrows } from "@std/assert";
import { z } from "zod";
import { QWEN_WINDOW_FIELDS, qwenWindows } from "../../models/qwen_windows.ts";
import { StartupError } from "../../src/core/errors.ts";
import { parseModelJson } from "../../src/core/model_json.ts";

const QwenFields = z.object({ num_hidden_layers: z.number(), ...QWEN_WINDOW_FIELDS });

function qwen(changes: Record<string, unknown>): readonly (number | undefined)[] {
  const json = { num_hidden_layers: 3, ...changes };
  return qwenWindows(parseModelJson(QwenFields, json, "file"), "file");
}

Deno.test("qwenWindows() has windows from max_window_layers on, where they are in use", () => {
  const none = [undefined, undefined, undefined];
  assertEquals(qwen({ sliding_window: 8, max_window_layers: 1 }), none);
  const layer_types = ["sliding_attention", "full_attention", "full_attention"];
  assertEquals(qwen({ sliding_window: 8, layer_types }), none);
  const inUse = { use_sliding_window: true, sliding_window: 8 };
  assertEquals(qwen({ ...inUse, max_window_layers: 1 }), [undefined, 8, 8]);
  assertEquals(qwen({ ...inUse, max_window_layers: 1, layer_types }), [8, undefined, undefined]);
  assertEquals(qwen(inUse), none);
  assertEquals(qwen({ use_sliding_window: true, max_window_layers: 2 }), [
    ...[undefined, undefined, 4096],
  ]);
  assertThrows(
    () => qwen({ use_sliding_window: true, sliding_window: null, max_window_layers: 0 }),
    StartupError,
    "sliding_window",
  );
});
