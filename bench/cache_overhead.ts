/**
 * What the prefix cache costs when nothing hits: the same unrelated prompts with the cache on and off, in
 * alternating runs on the device found. Prints the host's time per step for both, and the difference as a
 * share of a step; the last line is the same as JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { parseArgs } from "node:util";
import type { EngineInfo } from "../src/core/engine_config.ts";
import { BlockManager } from "../src/kvcache/block_manager.ts";
import type { ModelRunner } from "../src/runner/model_runner.ts";
import { startRunner } from "../src/runner/start_runner.ts";
import { Scheduler } from "../src/scheduler/scheduler.ts";
import { demoConfig, GREEDY } from "./demo.ts";

const BATCH = 16;
const PROMPT_TOKENS = 160;
const OUTPUT_TOKENS = 32;
const ROUNDS = 8;

const KEY_SPACE = { secret: new Uint8Array(32), modelFingerprint: "bench", layout: "bench" };

interface Times {
  /** All steps, and the part not spent waiting for the device, ms. */
  stepMs: number;
  hostMs: number;
  numSteps: number;
}

/** Serves one batch of prompts that no earlier one begins like. */
async function serve(
  scheduler: Scheduler,
  runner: ModelRunner,
  round: number,
  times: Times,
): Promise<void> {
  for (let i = 0; i < BATCH; i++) {
    const first = round * BATCH + i;
    const prompt = Uint32Array.from(
      { length: PROMPT_TOKENS },
      (_, j) => 3 + (first * 37 + j * (1 + first % 11)) % 2000,
    );
    prompt[0] = 3 + first % 2000;
    const params = { ...GREEDY, maxTokens: OUTPUT_TOKENS };
    scheduler.add({ id: `${first}`, sequences: [{ prompt, params }] });
  }
  while (scheduler.hasWork) {
    const began = performance.now();
    const waited = runner.waitedMs;
    const batch = scheduler.schedule()!;
    scheduler.commit(batch, await runner.run(batch));
    const ms = performance.now() - began;
    times.stepMs += ms;
    times.hostMs += ms - (runner.waitedMs - waited);
    times.numSteps++;
  }
}

function schedulerOf(info: EngineInfo, isCached: boolean): Scheduler {
  const blocks = new BlockManager({
    numBlocks: info.numBlocks,
    blockSize: info.blockSize,
    ...(isCached ? { prefixCache: { keySpace: KEY_SPACE } } : {}),
  });
  return new Scheduler(blocks, { ...info, maxNumWaitingSeqs: 1000 });
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    args: Deno.args,
    options: { device: { type: "string", default: "auto" } },
  });
  const { runner, info } = await startRunner(demoConfig(values.device), () => {});
  const modes = [false, true].map((isCached) => ({
    scheduler: schedulerOf(info, isCached),
    times: { stepMs: 0, hostMs: 0, numSteps: 0 },
  }));
  for (let round = 0; round < ROUNDS; round++) {
    // Each mode goes first in turn, so that a drift of the machine does not count for one of them.
    for (const { scheduler, times } of round % 2 === 0 ? modes : modes.toReversed()) {
      await serve(scheduler, runner, round, times);
    }
  }
  const [off, on] = modes.map(({ times }) => ({
    stepMs: times.stepMs / times.numSteps,
    hostMs: times.hostMs / times.numSteps,
  }));
  const { numHitTokens, numQueriedTokens } = modes[1]!.scheduler.stats;
  const share = (on!.hostMs - off!.hostMs) / off!.stepMs;
  console.log(`Device  ${info.device}`);
  console.log(`Hits    ${numHitTokens} of ${numQueriedTokens} prompt tokens\n`);
  console.log("cache   step ms   host ms");
  console.log(`off   ${off!.stepMs.toFixed(3).padStart(9)}${off!.hostMs.toFixed(3).padStart(10)}`);
  console.log(`on    ${on!.stepMs.toFixed(3).padStart(9)}${on!.hostMs.toFixed(3).padStart(10)}`);
  console.log(`\nThe cache costs ${(100 * share).toFixed(2)} % of a step at no hits`);
  const { device } = info;
  const result = { bench: "cache_overhead", device, off, on, share, numHitTokens };
  console.log(`\n${JSON.stringify(result)}`);
  Deno.exit(0);
}

if (import.meta.main) await main();
