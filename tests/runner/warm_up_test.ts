import { assert, assertEquals } from "@std/assert";
import type { Batch } from "../../src/core/batch.ts";
import type { DeviceKind, EngineConfig } from "../../src/core/engine_config.ts";
import type { ModelRunner } from "../../src/runner/model_runner.ts";
import { warmUp } from "../../src/runner/warm_up.ts";

/** Tokens of each step of a warm-up, and the shares that it tells. */
async function warmedUp(deviceKind: DeviceKind) {
  const steps: Batch[] = [];
  const runner = {
    run: (batch: Batch) => {
      steps.push(batch);
      return Promise.resolve([]);
    },
  };
  const shares: number[] = [];
  await warmUp(
    runner as unknown as ModelRunner,
    { blockSize: 16, maxNumSeqs: 8, maxNumBatchedTokens: 32 } as EngineConfig,
    { deviceKind, numBlocks: 64, maxModelLen: 256, blocksPerSlab: [1] } as Parameters<
      typeof warmUp
    >[2],
    (share) => shares.push(share),
  );
  return { sizes: steps.map(({ numTokens }) => numTokens), shares };
}

Deno.test("warmUp() runs steps of each kind, and tells how far it is", async () => {
  const { sizes, shares } = await warmedUp("webgpu");
  assertEquals(sizes, [1, 3, 8, 2, 5, 32]);
  assertEquals(shares.length, sizes.length);
  assert(shares.every((share, i) => share > (shares[i - 1] ?? 0)));
  assertEquals(shares.at(-1), 1);
});

Deno.test("warmUp() runs a decode and a short prompt where nothing is compiled", async () => {
  const { sizes, shares } = await warmedUp("cpu");
  assertEquals(sizes, [1, 8]);
  assertEquals(shares, [0.5, 1]);
});
