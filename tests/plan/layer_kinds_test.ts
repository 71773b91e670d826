import { assertEquals, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { layerKinds, LayerKindsJson } from "../../src/plan/layer_kinds.ts";

/** One letter per layer: full, sliding, chunked; and the windows met. */
function kinds(json: Record<string, unknown>, numLayers: number): [string, number[]] {
  const layers = layerKinds(LayerKindsJson.parse(json), numLayers, "config.json");
  const windows = new Set(layers.flatMap((layer) => "window" in layer ? layer.window : []));
  return [layers.map(({ kind }) => kind[0]).join(""), [...windows]];
}

function refusal(json: Record<string, unknown>): string {
  return assertThrows(() => kinds(json, 2), StartupError).message;
}

Deno.test("layerKinds() finds full layers where no window is in use", () => {
  const without = [{}, { sliding_window: null }, { sliding_window: 8, use_sliding_window: false }];
  for (const json of without) assertEquals(kinds(json, 3), ["fff", []]);
});

Deno.test("layerKinds() lets every layer slide where only a window is given", () => {
  assertEquals(kinds({ model_type: "mistral", sliding_window: 8 }, 3), ["sss", [8]]);
});

Deno.test("layerKinds() follows layer_types before any other field", () => {
  const json = {
    layer_types: ["chunked_attention", "full_attention", "sliding_attention"],
    attention_chunk_size: 4,
    sliding_window: 8,
    sliding_window_pattern: 2,
  };
  assertEquals(kinds(json, 3), ["cfs", [4, 8]]);
});

Deno.test("layerKinds() makes one layer full per sliding_window_pattern", () => {
  assertEquals(kinds({ sliding_window: 8, sliding_window_pattern: 3 }, 7), ["ssfssfs", [8]]);
  assertEquals(kinds({ sliding_window: 8, sliding_window_pattern: null }, 2), ["ss", [8]]);
});

Deno.test("layerKinds() lets the layers from max_window_layers on slide where windows are on", () => {
  const json = { sliding_window: 8, max_window_layers: 2 };
  assertEquals(kinds({ ...json, use_sliding_window: true }, 5), ["ffsss", [8]]);
  assertEquals(kinds({ ...json, use_sliding_window: false }, 5), ["fffff", []]);
});

Deno.test("layerKinds() refuses unknown layers, missing windows and a wrong count", () => {
  assertEquals(
    refusal({ layer_types: ["full_attention", "mamba"] }),
    'config.json: field "layer_types" has "mamba": planned are full_attention, ' +
      "sliding_attention and chunked_attention",
  );
  assertEquals(
    refusal({ layer_types: ["full_attention", "sliding_attention"] }),
    'config.json: field "sliding_window" is missing, which "layer_types" asks for',
  );
  assertEquals(
    refusal({ layer_types: ["full_attention"] }),
    'config.json: field "layer_types" has 1 entries: must have one for each of ' +
      '"num_hidden_layers", 2',
  );
});
