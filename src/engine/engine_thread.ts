import { getHeapStatistics } from "node:v8";
import { MessageChannel, SHARE_ENV, Worker } from "node:worker_threads";
import type { Crash, EngineWorker, WorkerListener } from "./isolate_handle.ts";
import type { ToEngine } from "./messages.ts";

const MIB = 2 ** 20;

/**
 * The engine isolate on a thread of its own.
 *
 * It is a Worker of `node:worker_threads`, whose full heap leaves the process alone; a Worker of
 * the Web takes it along. Its end shows on a port that it holds and nobody uses: the port closes
 * when the isolate is gone, also after `close` or `exit`, and stays open while the thread is in a
 * loop or a driver's call that `terminate` cannot end. That may be seen before what the isolate
 * said last; the Worker's own "exit" comes after all of it, but at once after `terminate`. So it is
 * gone with the later of both.
 */
export class EngineThread implements EngineWorker {
  readonly #worker: Worker;
  readonly #lifeline: InstanceType<typeof MessageChannel>["port1"];

  /** Starts a thread that runs the module at `entry`, which calls `serveIsolate`. */
  constructor(entry: URL) {
    const { port1, port2 } = new MessageChannel();
    this.#lifeline = port1;
    this.#worker = new Worker(entry, {
      name: "engine",
      workerData: { lifeline: port2 },
      transferList: [port2],
      // A copy of the variables would need leave to read all of them.
      env: SHARE_ENV,
      // The limit that it has anyway: only a stated one ends the thread in place of the process.
      resourceLimits: { maxOldGenerationSizeMb: heapLimitMiB() },
    });
  }

  listen({ onMessage, onError, onExit }: WorkerListener): void {
    this.#worker.on("message", onMessage);
    this.#worker.on("error", (error) => onError(crashOf(error)));
    const exited = new Promise<void>((resolve) => this.#worker.on("exit", () => resolve()));
    const closed = new Promise<void>((resolve) => this.#lifeline.on("close", resolve));
    Promise.all([exited, closed]).then(onExit);
    // Only a port that is read tells of its end; this one must not keep the process alive.
    this.#lifeline.on("message", () => {});
    this.#lifeline.unref();
  }

  postMessage(message: ToEngine): void {
    this.#worker.postMessage(message);
  }

  terminate(): void {
    this.#worker.terminate().catch(() => {});
  }
}

/** Starts the real engine isolate. */
export function spawnEngineThread(): EngineWorker {
  return new EngineThread(new URL("./worker.ts", import.meta.url));
}

/** How large the heap of an isolate of this process may become. */
function heapLimitMiB(): number {
  return Math.floor(getHeapStatistics().heap_size_limit / MIB);
}

function crashOf(error: unknown): Crash {
  if (!(error instanceof Error)) return { reason: String(error) };
  const isOutOfMemory = "code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY";
  return { reason: error.message, isOutOfMemory };
}
