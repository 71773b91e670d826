import { assert, assertEquals } from "@std/assert";
import { tuningFor } from "../../kernels/tuning/tuning.ts";
import type { KernelCall } from "../../src/device/kernel.ts";
import { actingAs, withProperties } from "../support/acting_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { DemoEngine, goldenPrompts, GREEDY_64 } from "../support/demo_engine.ts";
import { emulateMatrices } from "../support/emulated_matrices.ts";

/** Positions whose best two tokens are closer than this may come out either way: activations are f16. */
const MIN_MARGIN = 0.1;
const PROMPTS = goldenPrompts().slice(0, 8);
const NUM_TOKENS = 8;
const UNIT = { componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 };
/** What matrix units come with. */
const GPU = {
  tier: "subgroups",
  hasSubgroups: true,
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
  maxWorkgroupBytes: 32_768,
  maxWorkgroupLanes: 1024,
} as const;

gpuTest("a model whose prompts run on matrix units gives the golden ids", async (gpu) => {
  if (!gpu.capabilities.hasF16) {
    // deno-lint-ignore no-console -- a skip must say why
    return console.warn("skipped: this adapter does not grant shader-f16");
  }
  const compiled = new Set<string>();
  const device = actingAs(
    withProperties(gpu, {
      compile: <Dims>(calls: readonly KernelCall<Dims>[]) => {
        for (const { label, kernelName } of calls) compiled.add(`${label}: ${kernelName}`);
        return gpu.compile(emulateMatrices(calls, GPU.subgroupMaxSize));
      },
    }),
    { ...GPU, matrixConfigs: [UNIT] },
  );
  // All else as this adapter does it fastest, in the memory that the tuning of such a GPU has.
  const { matrixTiles, splitLen } = tuningFor(device.capabilities);
  const tuning = { ...tuningFor(gpu.capabilities), matrixTiles, splitLen };
  const engine = await DemoEngine.create(device, { maxNumBatchedTokens: 96 }, { tuning });
  const outcomes = await engine.generate(
    PROMPTS.map(({ prompt_ids }) => ({
      prompt: prompt_ids,
      params: { ...GREEDY_64, maxTokens: NUM_TOKENS },
    })),
  );
  let numCompared = 0;
  outcomes.forEach(({ tokens }, i) => {
    const { id, greedy_ids, margins } = PROMPTS[i]!;
    const unsure = margins.findIndex((margin) => margin < MIN_MARGIN);
    const end = Math.min(NUM_TOKENS, unsure === -1 ? Infinity : unsure);
    assertEquals(tokens.slice(0, end), greedy_ids.slice(0, end), id);
    numCompared += end;
  });
  assert(numCompared > 4 * PROMPTS.length, `${numCompared} ids were compared`);
  for (const label of ["qkv", "o", "gate_up", "down", "head"]) {
    assert(
      compiled.has(`${label}: gemm_subgroup_matrix`) && compiled.has(`${label}: cast_rows_f16`),
      label,
    );
  }
});
