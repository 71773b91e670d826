import { assertEquals } from "@std/assert";
import { readModel } from "../../models/registry.ts";
import { parseConfig, toEngineConfig } from "../../src/core/config.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { PRESET_NAMES } from "../../src/plan/presets.ts";
import { presetShape } from "../../src/server/model_shape.ts";
import type { ModelShape } from "../../src/plan/model_shape.ts";
import { plannedWeights } from "../../src/plan/weight_bytes.ts";
import { uploadWeights } from "../../src/runner/upload_weights.ts";
import { weightBytes } from "../../src/runner/weight_buffers.ts";
import { openSafetensors } from "../../src/weights/safetensors.ts";

Deno.test("plannedWeights() counts what the bundled model takes on a device, to the byte", async () => {
  const dir = "models/demo";
  const model = readModel(dir);
  const checkpoint = openSafetensors(dir);
  const taken = [];
  const largest = [];
  for (const flags of [[], ["--quantization", "int8"], ["--quantization", "int4"]]) {
    const { quantization } = toEngineConfig(parseConfig(flags, {}), dir);
    const options = quantization === undefined ? {} : { quantization };
    const specs = model.weights;
    const { bytes, weight } = await uploadWeights(
      new ReferenceDevice(),
      checkpoint,
      specs,
      options,
    );
    taken.push(bytes);
    largest.push(Math.max(...specs.map(({ name }) => weightBytes(weight(name)))));
  }
  checkpoint.close();
  const planned = plannedWeights(presetShape("quire-demo")!);
  assertEquals(planned.map(({ bytes }) => bytes), taken);
  assertEquals(planned.map(({ largestMatrixBytes }) => largestMatrixBytes), largest);
});

Deno.test("plannedWeights() has the published number of parameters of each preset", () => {
  const counts = PRESET_NAMES.map((name) => {
    const shape = presetShape(name)!;
    // Norms are in f32, which two bytes a weight would count twice.
    const norms = shape.weights!.filter(({ isVector }) => isVector)
      .reduce((sum, { rows, columns }) => sum + rows * columns, 0);
    return [name, (plannedWeights(shape)[0]!.bytes - 2 * norms) / 2];
  });
  assertEquals(counts, [
    ["quire-demo", 2_755_008],
    ["smollm2-135m", 134_515_008],
    ["qwen2.5-0.5b", 494_032_768],
    ["qwen3-0.6b", 596_049_920],
    ["llama-3.2-1b", 1_235_814_400],
    ["gemma-3-1b", 999_885_952],
    ["tinyllama-1.1b", 1_100_048_384],
    ["gemma-2-2b", 2_614_341_888],
    ["llama-2-7b", 6_738_415_616],
    ["mistral-7b", 7_241_732_096],
    ["llama-3.1-8b", 8_030_261_248],
    ["llama-3-70b", 70_553_706_496],
  ]);
});

Deno.test("plannedWeights() says nothing of a shape whose weights are not known", () => {
  const { weights: _, ...shape } = presetShape("llama-2-7b")!;
  const unknown: ModelShape = shape;
  assertEquals(plannedWeights(unknown), []);
});
