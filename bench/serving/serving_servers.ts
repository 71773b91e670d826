import { demoGguf } from "../../tests/support/gguf_checkpoint.ts";
import { ServerProcess } from "../../tests/support/server_process.ts";
import type { ServerUnderTest } from "./measured_server.ts";

const BLOCK_SIZE = 16;

/** The memory that all modes have, in positions. */
export interface ServingMemory {
  readonly contextLen: number;
  readonly numPositions: number;
  /** Seats where memory is paged. */
  readonly maxNumSeqs: number;
}

/** What servers are started with. */
export interface ServingPlace {
  readonly memory: ServingMemory;
  /** Of Quire's servers. */
  readonly device: string;
  /** Threads that compute, where they are the processor's. */
  readonly numThreads: number;
  /** Where llama.cpp is installed; absent: it is left out. */
  readonly llamaDir?: string;
}

/** What a server has counted since its start. */
export interface StepCounts {
  readonly numSteps: number;
  readonly numTokens: number;
  readonly numPreemptions: number;
}

/** A server of the bundled model that is measured. */
export interface ServingServer extends ServerUnderTest {
  /** What it computes on. */
  readonly device: string;
  /** Undefined where the server tells none. */
  counts(): Promise<StepCounts | undefined>;
  stop(): Promise<void>;
}

/** How Quire serves. */
export interface QuireSeats {
  readonly numSeats: number;
  readonly hasPrefixCache: boolean;
}

/** Starts Quire, with all of the memory for so many sequences. */
export async function startQuire(
  { numSeats, hasPrefixCache }: QuireSeats,
  { memory: { contextLen, numPositions }, device, numThreads }: ServingPlace,
): Promise<ServingServer> {
  const args = [
    ...["--device", device, "--max-model-len", String(contextLen)],
    ...["--num-gpu-blocks-override", String(numPositions / BLOCK_SIZE)],
    ...["--max-num-seqs", String(numSeats), "--log-level", "warn"],
    ...(hasPrefixCache ? [] : ["--no-enable-prefix-caching"]),
  ];
  // Of the software adapter; a GPU does not look at it.
  const env = { LP_NUM_THREADS: String(numThreads) };
  const server = await ServerProcess.start(args, env);
  return {
    url: server.url,
    pid: server.pid,
    device: /^ *Device +(.+)$/m.exec(server.output)?.[1] ?? device,
    counts: async () => ({
      numSteps: await server.metric("quire:steps_total") +
        await server.metric("quire:further_decode_steps_total"),
      numTokens: await server.metric("vllm:generation_tokens_total"),
      numPreemptions: await server.metric("vllm:num_preemptions_total"),
    }),
    stop: () => server.stop(),
  };
}

/** Starts llama.cpp, installed in `installDir`, on the same weights with so many contexts. */
export async function startLlama(
  installDir: string,
  numSlots: number,
  { memory: { contextLen }, numThreads }: ServingPlace,
): Promise<ServingServer> {
  const model = `${installDir}/demo.gguf`;
  await Deno.writeFile(model, demoGguf("F16"));
  const server = await ServerProcess.startScript([
    // Not this project's configuration, which knows no folder of packages.
    ...["--allow-ffi", "--allow-run", "--allow-write"],
    ...["--no-config", "--node-modules-dir=manual", "bench/peers/llama_server.ts"],
    ...[installDir, model, "--port", "0", "--slots", String(numSlots)],
    ...["--context", String(contextLen), "--threads", String(numThreads)],
  ]);
  return {
    url: server.url,
    pid: server.pid,
    device: `CPU, ${numThreads} threads`,
    counts: () => Promise.resolve(undefined),
    stop: () => Promise.resolve(server[Symbol.dispose]()),
  };
}
