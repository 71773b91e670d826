import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { EngineStall } from "../../src/core/engine_port.ts";
import type { Generation } from "../../src/core/generation.ts";
import { EngineClient } from "../../src/engine/client.ts";
import type { EngineFailure } from "../../src/engine/client_options.ts";
import type { RestartPolicy } from "../../src/engine/failure_count.ts";
import { FAKE_INFO, FakeWorker } from "./fake_worker.ts";
import { ManualClock } from "./manual_clock.ts";
import { requestOf } from "./requests.ts";

/** What a client under test hands to its isolates. */
export const CLIENT_CONFIG: EngineConfig = {
  modelDir: "models/fake",
  device: "cpu",
  blockSize: 2,
  kvCacheDtype: "f32",
  enablePrefixCaching: true,
  maxNumSeqs: 4,
  maxNumBatchedTokens: 8,
  maxNumQueuedSeqs: 2,
};

/** Lets what is settled go on. */
export async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

/** A client whose isolates are fakes and whose time stands still. */
export class ClientRig {
  readonly workers: FakeWorker[] = [];
  readonly clock = new ManualClock();
  readonly phases: string[] = [];
  readonly failures: string[] = [];
  readonly submitted: string[] = [];
  readonly stalls: (EngineStall | undefined)[] = [];
  numReady = 0;
  lastFailure: EngineFailure | undefined;

  readonly client: EngineClient;

  /** Gives up at the third failure unless told otherwise; a start may take 8 s, a step 4 s. */
  constructor(restart: Partial<RestartPolicy> = {}) {
    this.client = new EngineClient({
      spawn: () => {
        this.workers.push(new FakeWorker());
        return this.worker;
      },
      restart: { maxNumFailures: 3, initialDelayMs: 100, forgiveAfterMs: 1000, ...restart },
      deadlines: { startMs: 8000, stepMs: 4000 },
      onProgress: (phase) => this.phases.push(phase),
      onReady: () => this.numReady++,
      onFailure: (failure) => {
        this.failures.push(`${failure.reason} -> ${failure.state}`);
        this.lastFailure = failure;
      },
      onStall: (stall) => this.stalls.push(stall),
      onSubmit: (id) => this.submitted.push(id),
      clock: this.clock,
    });
  }

  /** The isolate started last. */
  get worker(): FakeWorker {
    return this.workers.at(-1)!;
  }

  async start(): Promise<this> {
    const starting = this.client.start(CLIENT_CONFIG);
    this.worker.say({ type: "ready", info: FAKE_INFO });
    await starting;
    return this;
  }

  /** Submits a request that the isolate accepts. */
  async submit(id: string): Promise<Generation> {
    const answer = this.client.submit(requestOf(id, 1));
    this.worker.say({ type: "accepted", id });
    return await answer;
  }
}
