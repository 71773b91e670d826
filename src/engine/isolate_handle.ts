import type { Clock } from "../base/clock.ts";
import type { FromEngine, ToEngine } from "./messages.ts";

/** As much of a `Worker` as the main isolate needs. */
export interface EngineWorker {
  addEventListener(type: "message", listener: (event: MessageEvent<FromEngine>) => void): void;
  addEventListener(type: "error", listener: (event: ErrorEvent) => void): void;
  postMessage(message: ToEngine): void;
  terminate(): void;
}

/** Starts the real engine isolate. */
export function spawnEngineWorker(): EngineWorker {
  return new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: "engine" });
}

/** Who hears of an isolate. */
export interface IsolateListener {
  /** It has said something. */
  readonly onMessage: (message: FromEngine) => void;
  /** Its code has thrown where nothing catches. */
  readonly onCrash: (reason: string) => void;
}

/** One engine isolate as the main isolate holds it, heard until it is ended and not beyond. */
export class IsolateHandle {
  readonly #worker: EngineWorker;
  readonly #silenced = Promise.withResolvers<void>();
  #hasEnded = false;

  /** Listens to `worker`; what it says once it has been ended is dropped. */
  constructor(worker: EngineWorker, { onMessage, onCrash }: IsolateListener) {
    this.#worker = worker;
    // A dead isolate may have left messages behind; they are not those of its successor.
    worker.addEventListener("message", ({ data }) => {
      if (this.#hasEnded) return;
      if (data.type === "stopped" || data.type === "failed") this.#silenced.resolve();
      onMessage(data);
    });
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      if (!this.#hasEnded) onCrash(event.message);
    });
  }

  /** Sends it a message. */
  post(message: ToEngine): void {
    this.#worker.postMessage(message);
  }

  /**
   * Has it release its device, and waits until it has, until it has failed or been ended, or for
   * `deadlineMs`: a Worker that is torn down while it uses a GPU may take the whole process with it.
   */
  async stop(deadlineMs: number, clock: Clock): Promise<void> {
    this.post({ type: "stop" });
    let cancelDeadline = () => {};
    const deadline = new Promise<void>((resolve) => {
      cancelDeadline = clock.after(deadlineMs, resolve);
    });
    await Promise.race([this.#silenced.promise, deadline]);
    cancelDeadline();
  }

  /** Ends it at once, whatever it is doing. Idempotent. */
  end(): void {
    this.#hasEnded = true;
    this.#silenced.resolve();
    this.#worker.terminate();
  }
}
