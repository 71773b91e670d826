import { assert, assertEquals, assertThrows } from "@std/assert";
import { GPU_TUNING } from "../../kernels/tuning/tuning.ts";
import { StartupError } from "../../src/core/errors.ts";
import { allocateMemory, bindableSteps, stepLimits } from "../../src/runner/runner_memory.ts";
import { withProperties } from "../support/acting_device.ts";
import { TimedDevice, timedInputs } from "../support/timed_device.ts";

/** A runner's inputs for contexts of `maxModelLen` tokens on a device that binds `maxBindingBytes`. */
function inputsFor(maxModelLen: number, maxBindingBytes: number) {
  const device = withProperties(new TimedDevice(), { maxBindingBytes });
  const inputs = timedInputs(device);
  return { ...inputs, budget: { ...inputs.budget, maxModelLen } };
}

Deno.test("allocateMemory() sets aside what attention keeps of as many splits as a step may have", async () => {
  const inputs = inputsFor(512, 2 ** 27);
  const { activations } = await allocateMemory(inputs);
  const { numHeads, headDim } = inputs.model.attention[0]!;
  const { maxSplits, splitLen } = stepLimits(inputs, GPU_TUNING);
  assertEquals([maxSplits, splitLen], [inputs.config.maxNumSeqs * 512 / 64, 64]);
  assertEquals(activations.partials.bytes, 4 * maxSplits * numHeads * headDim);
  assertEquals(activations.stats.bytes, 4 * maxSplits * numHeads * 2);
});

Deno.test("bindableSteps() lowers no number of sequences for long contexts, but refuses too long ones", () => {
  const { config, model } = inputsFor(512, 2 ** 27);
  const { numHeads, headDim } = model.attention[0]!;
  const splitBytes = 4 * numHeads * headDim;
  const limit = 2 ** 22;
  const longest = 64 * Math.floor(limit / splitBytes);
  const long = inputsFor(longest, limit);
  assert(splitBytes * config.maxNumSeqs * longest / 64 > limit, "all of them could be bound");
  assertEquals(bindableSteps(long).config.maxNumSeqs, config.maxNumSeqs);
  assertThrows(
    () => bindableSteps(inputsFor(longest + 1, limit)),
    StartupError,
    `Attention of one sequence of ${longest + 1} tokens does not fit`,
  );
});
