/**
 * Quire as a peer: `deno run -A bench/peers/quire_peer.ts MODEL_DIR`, driven by `compare.ts`.
 *
 * Scheduler and runner as the server's engine isolate uses them, without HTTP and without a prefix
 * cache, since no prompt of a comparison begins like another.
 */
import type { EngineInfo } from "../../src/core/engine_config.ts";
import { BlockManager } from "../../src/kvcache/block_manager.ts";
import type { ModelRunner } from "../../src/runner/model_runner.ts";
import { startRunner } from "../../src/runner/start_runner.ts";
import { Scheduler } from "../../src/scheduler/scheduler.ts";
import { demoConfig, GREEDY } from "../demo.ts";
import {
  NUM_LOGPROBS,
  type PeerAnswer,
  peerPrompt,
  type PeerTask,
  processorMs,
  servePeer,
  type TopLogprobs,
} from "./peer_task.ts";

/** Room for eight sequences of a comparison; more would only take memory. */
const LIMITS = { maxNumSeqs: 8, maxModelLen: 1024, kvCacheMemoryBytes: 512 * 2 ** 20 };

function submit(scheduler: Scheduler, task: PeerTask, info: EngineInfo): void {
  const params = {
    ...GREEDY,
    maxTokens: task.outputLen,
    ...(task.wantsLogprobs ? { numLogprobs: NUM_LOGPROBS } : {}),
  };
  for (let i = 0; i < task.batch; i++) {
    const prompt = peerPrompt(task, i, info.vocabSize);
    scheduler.add({ id: String(i), sequences: [{ prompt, params }] });
  }
}

async function serve(runner: ModelRunner, info: EngineInfo, task: PeerTask): Promise<PeerAnswer> {
  const scheduler = new Scheduler(new BlockManager(info), { ...info, maxNumQueuedSeqs: 1000 });
  const tokens = Array.from({ length: task.batch }, (): number[] => []);
  const logprobs = Array.from({ length: task.batch }, (): TopLogprobs[] => []);
  const began = performance.now();
  const beganCpu = processorMs();
  submit(scheduler, task, info);
  let [prefillMs, prefillCpuMs, decodeMs, decodeCpuMs, decodeTokens] = [0, 0, 0, 0, 0];
  while (scheduler.hasWork) {
    const start = performance.now();
    const startCpu = processorMs();
    const plan = scheduler.schedule()!;
    const events = scheduler.commit(plan, await runner.run(plan));
    const now = performance.now();
    if (plan.chunks.some((chunk) => chunk.tokens.length > 1)) {
      prefillMs = now - began;
      prefillCpuMs = processorMs() - beganCpu;
    } else if (plan.numTokens === task.batch) {
      decodeMs += now - start;
      decodeCpuMs += processorMs() - startCpu;
      decodeTokens += plan.numTokens;
    }
    for (const { requestId, token, topLogprobs } of events) {
      if (token !== undefined) tokens[Number(requestId)]!.push(token);
      if (topLogprobs === undefined) continue;
      logprobs[Number(requestId)]!.push(topLogprobs.map((top) => [top.token, top.logprob]));
    }
  }
  const answer = { prefillMs, prefillCpuMs, decodeMs, decodeCpuMs, decodeTokens, tokens };
  return task.wantsLogprobs ? { ...answer, logprobs } : answer;
}

async function main([modelDir]: readonly string[]): Promise<void> {
  const config = { ...demoConfig("auto"), ...LIMITS, modelDir: modelDir! };
  const { runner, info } = await startRunner(config, () => {});
  await servePeer({ description: info.device }, (task) => serve(runner, info, task));
  Deno.exit(0);
}

if (import.meta.main) await main(Deno.args);
