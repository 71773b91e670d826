import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { parseTuneConfig } from "../../src/core/tune_config.ts";
import { startRunner } from "../../src/runner/start_runner.ts";
import { tuneCommand } from "../../src/server/tune_command.ts";
import { DEMO_DIR } from "../support/demo_engine.ts";
import { gpuTest } from "../support/agreement.ts";

/** As few operations as there can be. */
const SMALL = ["--max-num-seqs", "1", "--max-num-batched-tokens", "1", "--context", "64"];

gpuTest(
  "tuneCommand() times a model's kernels, keeps the times, and a start uses them",
  async () => {
    const dir = await Deno.makeTempDir();
    const path = `${dir}/tuning.sqlite3`;
    try {
      const config = parseTuneConfig([...SMALL, "--json", "--tuning-store", path], {})!;
      const phases: string[] = [];
      const answer = JSON.parse(await tuneCommand(config, (words) => phases.push(words)));
      assert(phases.includes("tune kernels") && phases.includes("compare block sizes"));
      assertEquals(answer.operations.length, 7);
      for (const { micros, variant, gain } of answer.operations) {
        assert(micros.default > 0 && micros[variant] > 0 && gain >= 1);
      }
      assertEquals(answer.block_sizes.context, 64);
      assertEquals(Object.keys(answer.block_sizes.micros), ["8", "16", "32"]);
      const { runner, info } = await startRunner({
        modelDir: DEMO_DIR,
        ...{ device: "webgpu", autotune: "off", tuningStore: path },
        ...{
          blockSize: 16,
          kvCacheDtype: "f16",
          enablePrefixCaching: false,
          numBlocksOverride: 64,
        },
        ...{ maxNumSeqs: 1, maxNumBatchedTokens: 1, maxNumQueuedSeqs: 1 },
      }, () => {});
      runner.destroy();
      assertEquals(
        info.phases.map(({ name }) => name),
        ["open device", "load weights", "tune kernels", "compile kernels", "warm up"],
      );
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
);

Deno.test("tuneCommand() refuses the reference device and says how to get another", async () => {
  const config = parseTuneConfig(["--device", "cpu", "--tuning-store", "none"], {})!;
  const { message } = await assertRejects(() => tuneCommand(config, () => {}), StartupError);
  assertStringIncludes(message, "nothing to tune on the reference device: no WebGPU adapter");
});
