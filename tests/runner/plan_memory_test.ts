import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { readModel } from "../../models/registry.ts";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import { StartupError } from "../../src/core/errors.ts";
import { DEFAULT_QUANTIZATIONS, type Quantization } from "../../src/core/weight_format.ts";
import type { Device } from "../../src/device/device.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { allocateModel } from "../../src/runner/allocate_model.ts";
import type { MemoryInputs } from "../../src/runner/fit_context.ts";
import { type MemoryPlan, memoryText, planMemory } from "../../src/runner/plan_memory.ts";
import { uploadWeights, weightSources } from "../../src/runner/upload_weights.ts";
import { findModelSource } from "../../src/weights/model_source.ts";
import { withProperties } from "../support/acting_device.ts";
import { DEMO_DIR } from "../support/demo_engine.ts";
import { BoundedDevice } from "../support/bounded_device.ts";

const CONFIG: EngineConfig = {
  modelDir: DEMO_DIR,
  device: "cpu",
  blockSize: 16,
  kvCacheDtype: "f16",
  enablePrefixCaching: true,
  maxNumSeqs: 4,
  maxNumBatchedTokens: 64,
  maxNumQueuedSeqs: 10,
};
const MIB = 2 ** 20;

/** What is known of the bundled model before it is loaded, on a device with memory of its own. */
function inputsOf(
  config: Partial<EngineConfig> = {},
  device: Device = withProperties(new ReferenceDevice(), { isSoftware: false }),
): MemoryInputs {
  const checkpoint = findModelSource(DEMO_DIR).openCheckpoint();
  try {
    const model = readModel(DEMO_DIR);
    const sources = weightSources(checkpoint, model.weights);
    return { device, config: { ...CONFIG, ...config }, model, sources };
  } finally {
    checkpoint.close();
  }
}

const totalOf = ({ weightBytes, activationBytes, budget }: MemoryPlan) =>
  weightBytes + activationBytes + budget.bytes;

async function loaded(device: Device, { model, config }: MemoryInputs) {
  const checkpoint = findModelSource(DEMO_DIR).openCheckpoint();
  const { quantization } = config;
  try {
    const options = quantization === undefined ? {} : { quantization };
    return await uploadWeights(device, checkpoint, model.weights, options);
  } finally {
    checkpoint.close();
  }
}

/** Remembers how many bytes of buffers there are, and refuses more than it has. */
class SmallDevice extends BoundedDevice {
  readonly #capacity: number;
  held = 0;

  constructor(capacity: number) {
    super(withProperties(new ReferenceDevice(), { isSoftware: false }), 2 ** 31 - 4);
    this.#capacity = capacity;
  }

  override async createBuffer(label: string, bytes: number): Promise<DeviceBuffer> {
    if (this.held + bytes > this.#capacity) throw new RangeError(`${label} (${bytes} bytes): full`);
    const buffer = await super.createBuffer(label, bytes);
    this.held += bytes;
    return buffer;
  }

  override destroyBuffer(buffer: DeviceBuffer): void {
    super.destroyBuffer(buffer);
    this.held -= buffer.bytes;
  }
}

for (const quantization of [undefined, ...Object.values(DEFAULT_QUANTIZATIONS)]) {
  const how = quantization?.method ?? "as stored";
  Deno.test(`planMemory() knows to the byte what is allocated: ${how}`, async () => {
    const device = new SmallDevice(Infinity);
    const config = quantization === undefined ? {} : { quantization };
    const inputs = inputsOf({ ...config, kvCacheMemoryBytes: 4 * MIB }, device);
    const plan = planMemory(inputs);
    const weights = await loaded(device, inputs);
    assertEquals([plan.weightBytes, device.held], [weights.bytes, weights.bytes]);
    await allocateModel(inputs, plan, { weights, tell: () => {} });
    assertEquals(device.held, totalOf(plan));
  });
}

Deno.test("planMemory() gives the pool what weights and activations leave of --gpu-memory-bytes", () => {
  const gpuMemoryBytes = 64 * MIB;
  const plan = planMemory(inputsOf({ gpuMemoryBytes }));
  const blockBytes = plan.budget.bytes / plan.budget.numBlocks;
  const rest = gpuMemoryBytes - totalOf(plan);
  assert(rest >= 0 && rest < blockBytes, `${rest} bytes are left of blocks of ${blockBytes}`);
  assertEquals(plan.budget.maxNumBlocks, plan.budget.numBlocks, "it does not grow");
  assertEquals(plan.budget.maxModelLen, 2048);
  assertEquals(
    memoryText(plan),
    "memory: weights 5.26 MiB, activations 873.4 KiB, KV pool 57.9 MiB, within " +
      "--gpu-memory-bytes 64 MiB",
  );
});

Deno.test("planMemory() finds the longest context that fits, and refuses a longer one by that length", () => {
  const gpuMemoryBytes = 9 * MIB;
  const { budget, ...plan } = planMemory(inputsOf({ gpuMemoryBytes, maxModelLen: "auto" }));
  assert(budget.maxModelLen > 100 && budget.maxModelLen < 2048, `${budget.maxModelLen} tokens`);
  assert(totalOf({ budget, ...plan }) <= gpuMemoryBytes);
  const longest = budget.maxModelLen;
  const { message } = assertThrows(
    () => planMemory(inputsOf({ gpuMemoryBytes, maxModelLen: longest + 1 })),
    StartupError,
  );
  assertStringIncludes(message, "does not fit in --gpu-memory-bytes 9 MiB: weights take 5.26 MiB");
  assertStringIncludes(message, `what fits: --max-model-len ${longest}, --quantization int8`);
  planMemory(inputsOf({ gpuMemoryBytes, maxModelLen: longest }));
});

Deno.test("planMemory() names quantizations, files and sizes that do fit", () => {
  const gpuMemoryBytes = 5 * MIB;
  const otherFiles = [
    { name: "acme/demo:F16", bytes: 5_000_000 },
    { name: "acme/demo:Q4_0", bytes: 1_600_000 },
  ];
  const config = { gpuMemoryBytes, otherFiles, maxNumSeqs: 1, maxNumBatchedTokens: 16 };
  const { message } = assertThrows(() => planMemory(inputsOf(config)), StartupError);
  const [, fits] = message.split("what fits: ");
  assertEquals(
    fits!.replaceAll(/\d+\.\d+ MiB|\d+MiB/g, "N"),
    [
      "--quantization int8 (weights N)",
      "--quantization int4 (weights N)",
      "acme/demo:F16 (weights N)",
      "acme/demo:Q4_0 (weights N) or --gpu-memory-bytes N",
    ].join(", "),
  );
  for (const quantization of Object.values(DEFAULT_QUANTIZATIONS)) {
    planMemory(inputsOf({ ...config, quantization }));
  }
  const [mib] = /\d+(?=MiB)/.exec(fits!)!;
  planMemory(inputsOf({ ...config, gpuMemoryBytes: Number(mib) * MIB }));
});

Deno.test("planMemory() refuses a pool of the user's size that leaves no room, with the size that does", () => {
  const config = { gpuMemoryBytes: 16 * MIB, kvCacheMemoryBytes: 12 * MIB };
  const { message } = assertThrows(() => planMemory(inputsOf(config)), StartupError);
  const [mib] = /(?<=--kv-cache-memory-bytes )\d+(?=MiB)/.exec(message)!;
  const plan = planMemory(inputsOf({ ...config, kvCacheMemoryBytes: Number(mib) * MIB }));
  assert(totalOf(plan) <= 16 * MIB && totalOf(plan) > 14 * MIB, `${totalOf(plan)} bytes`);
});

Deno.test("planMemory() stays within what a host has free, where the device has no memory of its own", () => {
  const inputs = inputsOf({}, new ReferenceDevice());
  const host = (mib: number, isKnown = true) => ({ freeBytes: mib * MIB, isKnown });
  assert(totalOf(planMemory({ ...inputs, host: host(20) })) <= 0.9 * 20 * MIB);
  const { message } = assertThrows(
    () => planMemory({ ...inputs, host: host(5) }),
    StartupError,
  );
  assertStringIncludes(
    message,
    "does not fit in 4.5 MiB, most of the memory that this machine has",
  );
  planMemory({ ...inputs, host: host(5, false) });
});

Deno.test("planMemory() of auto makes the pool large enough for the model's longest context", () => {
  const maxKvCacheMemoryBytes = 2 * MIB;
  const auto = planMemory(inputsOf({ maxModelLen: "auto" }));
  assertEquals(auto.budget.maxModelLen, 2048);
  const bounded = planMemory(inputsOf({ maxModelLen: "auto", maxKvCacheMemoryBytes }));
  const { numBlocks, maxModelLen } = bounded.budget;
  assertEquals(maxModelLen, 16 * numBlocks);
});

Deno.test("allocateModel() makes a pool smaller for which there is no room, and keeps nothing of it", async () => {
  const capacity = 12 * MIB;
  const device = new SmallDevice(capacity);
  const inputs = inputsOf({ maxModelLen: "auto" }, device);
  const plan = planMemory(inputs);
  assert(totalOf(plan) > 2 * capacity, `${totalOf(plan)} bytes`);
  const weights = await loaded(device, inputs);
  const notices: string[] = [];
  const { inputs: { budget } } = await allocateModel(inputs, plan, {
    weights,
    tell: (notice) => notices.push(notice),
  });
  assert(budget.bytes < plan.budget.bytes && budget.maxModelLen <= plan.budget.maxModelLen);
  assert(device.held <= capacity && device.held > 0.8 * capacity, `${device.held} bytes`);
  assertEquals(notices.length, 1);
  assertStringIncludes(notices[0]!, "the device has no room for a KV pool of");
  assertStringIncludes(notices[0]!, `contexts of at most ${budget.maxModelLen} tokens`);
});

Deno.test("allocateModel() and uploadWeights() say what takes less where there is no room at all", async () => {
  const device = new SmallDevice(7 * MIB);
  const quantization: Quantization = DEFAULT_QUANTIZATIONS.int8;
  const config = { quantization, kvCacheMemoryBytes: 8 * MIB };
  const inputs = inputsOf(config, device);
  const weights = await loaded(device, inputs);
  const held = device.held;
  const error = await allocateModel(inputs, planMemory(inputs), { weights, tell: () => {} })
    .then(() => undefined, (error) => error);
  assert(error instanceof StartupError, String(error));
  assertStringIncludes(error.message, "The device has no room: kv ");
  assertStringIncludes(error.message, "less is --quantization int4 (weights ");
  assertEquals(device.held, held);
});
