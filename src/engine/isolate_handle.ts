import type { Clock } from "../base/clock.ts";
import type { FromEngine, ToEngine } from "./messages.ts";

/** How an isolate has failed without its own last words. */
export interface Crash {
  /** One sentence. */
  readonly reason: string;
  /** Whether a smaller pool may do better. */
  readonly isOutOfMemory?: boolean;
  /** Whether it did not get on, so that its thread may go on for ever. */
  readonly isHung?: boolean;
}

/** The listener of a thread. */
export interface WorkerListener {
  readonly onMessage: (message: FromEngine) => void;
  /** Its code has thrown where nothing catches, or its heap is full. */
  readonly onError: (crash: Crash) => void;
  /** It is gone, by itself or after `terminate`, and all that it has said was heard. */
  readonly onExit: () => void;
}

/** A thread that runs an engine isolate. */
export interface EngineWorker {
  /** Called once, before anything else. */
  listen(listener: WorkerListener): void;
  postMessage(message: ToEngine): void;
  /** Asks it to end; one that is in a loop or in a driver's call goes on. */
  terminate(): void;
}

/** The listener of an isolate. */
export interface IsolateListener {
  /** It has said something. */
  readonly onMessage: (message: FromEngine) => void;
  /** Its code has thrown where nothing catches, or it has ended without a word. */
  readonly onCrash: (crash: Crash) => void;
}

const ENDED_SILENTLY: Crash = { reason: "The engine's thread has ended without saying why" };

/** One engine isolate as the main isolate holds it, heard until it is ended and not beyond. */
export class IsolateHandle {
  readonly #worker: EngineWorker;
  readonly #silenced = Promise.withResolvers<void>();
  #hasEnded = false;
  #isGone = false;

  /** Listens to `worker`; its messages after its end are dropped. */
  constructor(worker: EngineWorker, { onMessage, onCrash }: IsolateListener) {
    this.#worker = worker;
    worker.listen({
      // An isolate that has ended may have left messages behind; they are not those of its
      // successor.
      onMessage: (message) => {
        if (this.#hasEnded) return;
        if (message.type === "stopped" || message.type === "failed") this.#silenced.resolve();
        onMessage(message);
      },
      onError: (crash) => {
        if (!this.#hasEnded) onCrash(crash);
      },
      onExit: () => {
        this.#isGone = true;
        if (!this.#hasEnded) onCrash(ENDED_SILENTLY);
      },
    });
  }

  /** Whether its thread has ended; false for one that was told to end and does not. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /** Sends it a message. */
  post(message: ToEngine): void {
    this.#worker.postMessage(message);
  }

  /**
   * Has it release its device, and waits until it has, until it has failed or been ended, or for
   * `deadlineMs`: a Worker that is torn down while it uses a GPU may take the whole process with
   * it.
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

  /** Ends it at once; see {@link EngineWorker.terminate}. Idempotent. */
  end(): void {
    this.#hasEnded = true;
    this.#silenced.resolve();
    this.#worker.terminate();
  }
}
