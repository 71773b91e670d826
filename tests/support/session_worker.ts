import { DeviceLostError, OutOfMemoryError } from "../../src/core/errors.ts";
import type { TokenMatchers } from "../../src/core/token_matcher.ts";
import { EngineSession, type StartRunner } from "../../src/engine/engine_session.ts";
import type { EngineWorker, WorkerListener } from "../../src/engine/isolate_handle.ts";
import type { FromEngine, ToEngine } from "../../src/engine/messages.ts";

/** How an engine is lost: its device says so, or has no memory, or nobody says anything. */
export type LossKind = "lost" | "memory" | "silent";

/** When an engine is lost. */
export interface Loss {
  /** In which of its steps, from 0. */
  readonly step: number;
  readonly kind: LossKind;
}

/** What a worker runs, and when it is lost. */
export interface SessionWorkerOptions {
  readonly startRunner: StartRunner;
  readonly matchers?: TokenMatchers;
  /** Absent: never. */
  readonly loss?: Loss | undefined;
}

/**
 * An engine isolate in the thread of the test: a real session, whose messages are cloned and come
 * later, as between threads. It is lost in the middle of a step; what it has not posted is gone.
 */
export class SessionWorker implements EngineWorker {
  readonly #session: EngineSession;
  #listener: WorkerListener | undefined;
  #isGone = false;
  #endStep: (error: Error) => void = () => {};
  #numSteps = 0;

  constructor({ startRunner, matchers, loss }: SessionWorkerOptions) {
    this.#session = new EngineSession({
      startRunner: async (config, progress) => {
        const started = await startRunner(config, progress);
        const { runner } = started;
        const run: typeof runner.run = (batch, onSubmitted) => {
          if (this.#isGone || this.#numSteps++ === loss?.step) return this.#lose(loss!.kind);
          return runner.run(batch, onSubmitted);
        };
        return { ...started, runner: { run } };
      },
      ...(matchers === undefined ? {} : { matchers }),
      post: (message) => this.#deliver(structuredClone(message)),
      reportBug: (error) => {
        if (!this.#isGone) throw error;
      },
    });
  }

  listen(listener: WorkerListener): void {
    this.#listener = listener;
  }

  postMessage(message: ToEngine): void {
    const copy = structuredClone(message);
    queueMicrotask(() => {
      if (!this.#isGone) this.#session.receive(copy);
    });
  }

  terminate(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#session.receive({ type: "stop" });
    this.#endStep(new DeviceLostError("The thread has been ended"));
    this.#listener?.onExit();
  }

  #deliver(message: FromEngine): void {
    queueMicrotask(() => {
      if (!this.#isGone) this.#listener?.onMessage(message);
    });
  }

  #lose(kind: LossKind): Promise<never> {
    if (kind === "lost") throw new DeviceLostError("The fake device is gone");
    if (kind === "memory") throw new OutOfMemoryError("The fake device is full");
    const { promise, reject } = Promise.withResolvers<never>();
    this.#endStep = reject;
    queueMicrotask(() => this.#listener?.onError({ reason: "The thread was killed" }));
    return promise;
  }
}
