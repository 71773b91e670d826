/**
 * What the prefix cache, its records and the curve that watches it cost when nothing hits: the same
 * unrelated prompts with all of them and with none, in alternating runs on the device found. Prints the host's time per step for both, and the difference as a
 * share of a step; the last line is the same as JSON. `--quick` runs one round.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { parseArgs } from "node:util";
import type { EngineInfo } from "../src/core/engine_config.ts";
import type { KvDecision } from "../src/core/kv_decision.ts";
import { KvRecorder } from "../src/engine/kv_recorder.ts";
import { BlockManager } from "../src/kvcache/block_manager.ts";
import { PrefixCurve } from "../src/kvcache/prefix_curve.ts";
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

interface Mode {
  readonly scheduler: Scheduler;
  readonly recorder: KvRecorder | undefined;
  readonly times: Times;
}

/** Serves one batch of prompts that no earlier one begins like. */
async function serve(
  { scheduler, recorder, times }: Mode,
  runner: ModelRunner,
  round: number,
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
    recorder?.take();
    const ms = performance.now() - began;
    times.stepMs += ms;
    times.hostMs += ms - (runner.waitedMs - waited);
    times.numSteps++;
  }
}

/** As the engine builds it: with the cache also its records and the curve, or with none of them. */
function schedulerOf(info: EngineInfo, recorder: KvRecorder | undefined): Scheduler {
  const { numBlocks, blockSize } = info;
  const limits = { ...info, maxNumWaitingSeqs: 1000 };
  if (recorder === undefined) return new Scheduler(new BlockManager(info), limits);
  const onDecision = (decision: KvDecision) => recorder.decided(decision, 0);
  const prefixCache = { keySpace: KEY_SPACE, listener: recorder };
  const curve = new PrefixCurve(blockSize, () => numBlocks);
  return new Scheduler(new BlockManager({ numBlocks, blockSize, onDecision, prefixCache }), {
    ...limits,
    onDecision,
    onPrompt: (scope, tokens) => curve.lookUp(scope, tokens),
    onEnd: (scope, tokens) => curve.store(scope, tokens),
  });
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      device: { type: "string", default: "auto" },
      quick: { type: "boolean" },
    },
  });
  const { runner, info } = await startRunner(demoConfig(values.device), () => {});
  const modes = [undefined, new KvRecorder()].map((recorder) => ({
    recorder,
    scheduler: schedulerOf(info, recorder),
    times: { stepMs: 0, hostMs: 0, numSteps: 0 },
  }));
  const numRounds = values.quick ? 1 : ROUNDS;
  for (let round = 0; round < numRounds; round++) {
    // Each mode goes first in turn, so that a drift of the machine does not count for one of them.
    for (const mode of round % 2 === 0 ? modes : modes.toReversed()) {
      await serve(mode, runner, round);
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
  console.log(`\nCache, records and curve cost ${(100 * share).toFixed(2)} % of a step at no hits`);
  const { device } = info;
  const result = { bench: "cache_overhead", device, off, on, share, numHitTokens };
  console.log(`\n${JSON.stringify(result)}`);
  Deno.exit(0);
}

if (import.meta.main) await main();
