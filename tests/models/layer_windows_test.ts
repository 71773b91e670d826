import { assertEquals, assertThrows } from "@std/assert";
import { z } from "zod";
import { layerTypes, layerWindows, WINDOW_FIELDS } from "../../models/layer_windows.ts";
import { StartupError } from "../../src/core/errors.ts";
import { parseModelJson } from "../../src/core/model_json.ts";

const Fields = z.object({ num_hidden_layers: z.number(), ...WINDOW_FIELDS });

function typesOf(changes: Record<string, unknown>): readonly string[] {
  const json = { num_hidden_layers: 3, ...changes };
  return layerTypes(parseModelJson(Fields, json, "file"), (layer) => layer === 1, "file");
}

Deno.test("layerTypes() takes the file's list before the family's rule", () => {
  const list = ["sliding_attention", "full_attention", "full_attention"];
  assertEquals(typesOf({ layer_types: list }), list);
  const rule = ["full_attention", "sliding_attention", "full_attention"];
  assertEquals(typesOf({}), rule);
  assertEquals(typesOf({ layer_types: null }), rule);
});

Deno.test("layerTypes() refuses other kinds of layer by name, and a list of another length", () => {
  const layer_types = ["full_attention", "linear_attention", "full_attention"];
  assertThrows(
    () => typesOf({ layer_types }),
    StartupError,
    'field "layer_types.1" is "linear_attention": known are full_attention, sliding_attention',
  );
  assertThrows(
    () => typesOf({ layer_types: ["full_attention"] }),
    StartupError,
    'field "layer_types" has 1 entries: must have one for each of "num_hidden_layers", 3',
  );
});

Deno.test("layerWindows() asks for a window where a layer slides", () => {
  const types = ["full_attention", "sliding_attention"] as const;
  assertEquals(layerWindows(types, 7, "file"), [undefined, 7]);
  assertEquals(layerWindows(["full_attention"], null, "file"), [undefined]);
  for (const window of [null, undefined]) {
    assertThrows(
      () => layerWindows(types, window, "file"),
      StartupError,
      'file: field "sliding_window" is missing',
    );
  }
});
