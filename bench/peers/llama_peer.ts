/**
 * llama.cpp as a peer: `deno run -A bench/peers/llama_peer.ts INSTALL_DIR MODEL BACKEND THREADS`,
 * where BACKEND is `cpu` or `vulkan`; driven by `compare.ts`.
 *
 * Calls llama.cpp's decode through the bindings of `node-llama-cpp` directly, one batch per step, so
 * that nothing of that package's own queues counts against it.
 */
import type { AddonContext } from "./llama_addon.ts";
import {
  NUM_LOGPROBS,
  type PeerAnswer,
  peerPrompt,
  type PeerTask,
  processorMs,
  servePeer,
  type TopLogprobs,
} from "./peer_task.ts";

const CONTEXT_LEN = 1024;
const MAX_BATCH = 8;
const BATCH_TOKENS = 512;

/** An open model, ready to decode. */
interface LlamaCpp {
  readonly context: AddonContext;
  readonly sampler: unknown;
  readonly vocabSize: number;
  readonly description: string;
}

async function open(
  [install, modelPath, backend, threads]: readonly string[],
): Promise<LlamaCpp> {
  const entry = new URL(`file://${install}/node_modules/node-llama-cpp/dist/index.js`).href;
  const { getLlama } = await import(entry);
  const llama = await getLlama({
    gpu: backend === "vulkan" ? "vulkan" : false,
    build: "never",
    skipDownload: true,
    progressLogs: false,
    maxThreads: Number(threads),
  });
  // Its estimate of the memory that is left takes a software adapter for a graphics card.
  const anyway = { ignoreMemorySafetyChecks: true };
  const gpuLayers = backend === "vulkan" ? "max" : 0;
  const model = await llama.loadModel({ modelPath, gpuLayers, ...anyway });
  const context = await model.createContext({
    contextSize: CONTEXT_LEN * MAX_BATCH,
    batchSize: BATCH_TOKENS,
    sequences: MAX_BATCH,
    threads: { ideal: Number(threads), min: Number(threads) },
    ...anyway,
  });
  const sampler = new llama._bindings.AddonSampler(model._model);
  sampler.applyConfig({ temperature: 0 });
  const addon = context._ctx as AddonContext;
  const vocabSize = model.fileInfo.metadata.llama.vocab_size as number;
  const place = backend === "vulkan"
    ? (await llama.getGpuDeviceNames()).join()
    : `CPU, ${addon.getThreads()} threads`;
  return { context: addon, sampler, vocabSize, description: `llama.cpp, ${place}` };
}

/** Tokens to compute of one sequence. */
interface Chunk {
  readonly sequence: number;
  readonly position: number;
  readonly tokens: Uint32Array;
}

/** Computes the chunks and returns the token drawn after each of them. */
async function step(
  { context, sampler }: LlamaCpp,
  chunks: readonly Chunk[],
  onLogprobs?: (sequence: number, top: TopLogprobs) => void,
): Promise<number[]> {
  context.initBatch(chunks.reduce((sum, { tokens }) => sum + tokens.length, 0));
  const places = chunks.map(({ sequence, position, tokens }) =>
    context.addToBatch(sequence, position, tokens, Uint32Array.of(tokens.length - 1))[0]!
  );
  await context.decodeBatch();
  const drawn: number[] = [];
  for (const [i, place] of places.entries()) {
    if (onLogprobs === undefined) drawn.push(await context.sampleToken(place, sampler));
    else {
      const [token, pairs] = await context.sampleToken(place, sampler, true);
      drawn.push(token);
      const top = Array.from(
        { length: NUM_LOGPROBS },
        (_, n): [number, number] => [pairs[2 * n]!, Math.log(pairs[2 * n + 1]!)],
      );
      onLogprobs(chunks[i]!.sequence, top);
    }
  }
  return drawn;
}

async function serve(llama: LlamaCpp, task: PeerTask): Promise<PeerAnswer> {
  const { batch, promptLen, outputLen } = task;
  const logprobs = Array.from({ length: batch }, (): TopLogprobs[] => []);
  const onLogprobs = task.wantsLogprobs
    ? (sequence: number, top: TopLogprobs) => void logprobs[sequence]!.push(top)
    : undefined;
  for (let i = 0; i < batch; i++) llama.context.disposeSequence(i);
  const prompts = Array.from({ length: batch }, (_, i) => peerPrompt(task, i, llama.vocabSize));
  const tokens: number[][] = [];
  const began = performance.now();
  const beganCpu = processorMs();
  const perStep = Math.floor(BATCH_TOKENS / promptLen);
  for (let first = 0; first < batch; first += perStep) {
    const chunks = prompts.slice(first, first + perStep)
      .map((prompt, i) => ({ sequence: first + i, position: 0, tokens: prompt }));
    for (const token of await step(llama, chunks, onLogprobs)) tokens.push([token]);
  }
  const prefillMs = performance.now() - began;
  const prefillCpuMs = processorMs() - beganCpu;
  for (let n = 1; n < outputLen; n++) {
    const chunks = tokens.map((own, sequence) => ({
      sequence,
      position: promptLen + n - 1,
      tokens: Uint32Array.of(own.at(-1)!),
    }));
    (await step(llama, chunks, onLogprobs)).forEach((token, i) => tokens[i]!.push(token));
  }
  const decodeMs = performance.now() - began - prefillMs;
  const decodeCpuMs = processorMs() - beganCpu - prefillCpuMs;
  const decodeTokens = batch * (outputLen - 1);
  const answer = { prefillMs, prefillCpuMs, decodeMs, decodeCpuMs, decodeTokens, tokens };
  return task.wantsLogprobs ? { ...answer, logprobs } : answer;
}

async function main(args: readonly string[]): Promise<void> {
  const llama = await open(args);
  await servePeer({ description: llama.description }, (task) => serve(llama, task));
  Deno.exit(0);
}

if (import.meta.main) await main(Deno.args);
