import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { groupCalls } from "../../bench/kernels.ts";
import { coprimeStride, kvBytes, ModelRig } from "../../bench/model_rig.ts";
import { leastSeconds } from "../../bench/model_shapes.ts";
import { openModel, type OpenShape, openShape } from "../../bench/open_shape.ts";
import { findShape, SHAPES, shapeSizes } from "../../bench/shapes.ts";
import { callTraffic, stepTraffic, weightElements } from "../../bench/traffic.ts";
import { SOFTWARE_TUNING } from "../../kernels/tuning/tuning.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";

async function openTiny(): Promise<{ device: ReferenceDevice; shape: OpenShape }> {
  const device = new ReferenceDevice();
  return { device, shape: await openShape(device, "tiny") as OpenShape };
}

Deno.test("SHAPES are models that model code takes, with the sizes of their names", () => {
  const parameters = (name: string) => {
    const c = shapeSizes(findShape(name));
    const [queries, keys] = [c.numHeads * c.headDim, c.numKvHeads * c.headDim];
    const layer = c.hiddenSize * (2 * queries + 2 * keys + 3 * c.intermediateSize);
    const tables = c.vocabSize * c.hiddenSize * (c.tieWordEmbeddings ? 1 : 2);
    return c.numLayers * layer + tables;
  };
  assertEquals(SHAPES.map(({ name }) => (parameters(name) / 1e9).toFixed(3)), [
    "0.000",
    "0.134",
    "0.268",
    "0.596",
    "1.236",
    "8.030",
  ]);
});

Deno.test("ModelRig measures the graph at any context, on KV that is not zero", async () => {
  const { device, shape } = await openTiny();
  const step = { batch: 3, count: 1, context: 40 };
  const rig = await ModelRig.create(device, shape, step);
  assertEquals(rig.dims.numDecodes, 3);
  assertEquals(rig.dims.numSplits, [3 * Math.ceil(40 / SOFTWARE_TUNING.splitLen)]);
  const kv = rig.calls.find(({ kernelName }) => kernelName === "paged_attention_decode")!;
  const buffer = kv.buffers[kv.bindings.findIndex(({ name }) => name === "kv")]!;
  assertEquals(buffer.bytes, kvBytes(shape.model, step) / shape.model.caches.length);
  const bytes = await device.read(buffer, 0, buffer.bytes);
  assert(new Uint32Array(bytes.buffer).filter((word) => word !== 0).length > 100);
  rig.close();
});

/** Gemma 3 with two layers of a window of 20 and one without, in the sizes of the tiny shape. */
async function openWindowed(): Promise<{ device: ReferenceDevice; shape: OpenShape }> {
  const device = new ReferenceDevice();
  const { config } = findShape("tiny");
  const shape = await openModel(device, {
    name: "windowed",
    config: {
      ...config,
      ...{ model_type: "gemma3_text", num_hidden_layers: 3 },
      ...{ sliding_window: 20, sliding_window_pattern: 3 },
    },
  });
  return { device, shape: shape as OpenShape };
}

Deno.test("ModelRig gives each cache group tables of its own, and counts what a window reads", async () => {
  const { device, shape: { model, weights } } = await openWindowed();
  const elements = weightElements(model, weights);
  const step = { batch: 2, count: 1, context: 50 };
  const rig = await ModelRig.create(device, { model, weights }, step);
  const attention = rig.calls.filter(({ kernelName }) => kernelName === "paged_attention_decode");
  const known = { elements, step, dims: rig.dims };
  const positions = attention.map((call) => callTraffic(call, known)!.bytes / (2 * 2 * 2 * 16 * 2));
  assertEquals(positions, [20, 20, 50]);
  const flops = attention.map((call) => callTraffic(call, known)!.flops / (4 * 64 * 2));
  assertEquals(flops, positions);
  rig.close();
  // A chunk's first query reads further back than its last one.
  const chunk = { batch: 1, count: 10, context: 50 };
  const chunked = await ModelRig.create(device, { model, weights }, chunk);
  const prefill = chunked.calls
    .find(({ kernelName }) => kernelName === "paged_attention_prefill")!;
  const traffic = callTraffic(prefill, { elements, step: chunk, dims: chunked.dims })!;
  assertEquals([traffic.bytes / (2 * 2 * 16 * 2), traffic.flops / (4 * 64)], [29, 10 * 20]);
  chunked.close();
});

Deno.test("coprimeStride() visits every block once", () => {
  for (const total of [1, 2, 3, 8, 24, 100, 1024]) {
    const seen = new Set(Array.from({ length: total }, (_, i) => i * coprimeStride(total) % total));
    assertEquals(seen.size, total);
  }
});

Deno.test("callTraffic() of all calls adds up to stepTraffic()", async () => {
  const { device, shape } = await openTiny();
  const { model, weights } = shape;
  const elements = weightElements(model, weights);
  for (const step of [{ batch: 2, count: 1, context: 33 }, { batch: 1, count: 20, context: 52 }]) {
    const rig = await ModelRig.create(device, shape, step);
    const known = { elements, step, dims: rig.dims };
    const each = groupCalls(rig.calls.filter(({ workgroups }) => workgroups(rig.dims)[0] > 0))
      .flat().map((call) => callTraffic(call, known) ?? { bytes: 0, flops: 0 });
    const whole = stepTraffic(model, weights, elements, step);
    assertEquals(each.reduce((sum, { flops }) => sum + flops, 0), whole.flops);
    // All but the norms: two per layer and one at the end, f32.
    const norms = 4 * 64 * (2 * model.caches.length + 1);
    assertEquals(each.reduce((sum, { bytes }) => sum + bytes, 0), whole.bytes - norms);
    rig.close();
  }
});

Deno.test("leastSeconds() is what the tighter of two ceilings allows", () => {
  const ceiling = { copyGBps: 10, fmaGflops: 1e9, gemmGflops: 100 };
  assertAlmostEquals(leastSeconds({ bytes: 5e9, flops: 1e9 }, ceiling), 0.5);
  assertAlmostEquals(leastSeconds({ bytes: 1e9, flops: 3e11 }, ceiling), 3);
});
