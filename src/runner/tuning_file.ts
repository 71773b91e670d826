import { tuningFor } from "../../kernels/tuning/tuning.ts";
import { tuningDigest } from "../../kernels/tuning/tuning_digest.ts";
import type { Logger } from "../base/log.ts";
import { describeFeatures } from "../device/capabilities.ts";
import type { Device } from "../device/device.ts";
import { StoreUnusableError } from "../state/store_errors.ts";
import { type TunedOperation, type TuningIdentity, TuningStore } from "../state/tuning_store.ts";

/**
 * The times of earlier starts in the file of a {@link TuningStore}, which is open only while it is
 * read or written: several servers may share it.
 */
export class TuningFile {
  readonly #path: string;
  readonly #identity: TuningIdentity;
  readonly #log: Logger;

  constructor(path: string, device: Device, log: Logger) {
    this.#path = path;
    this.#identity = tuningIdentity(device);
    this.#log = log;
  }

  /**
   * Earlier times on this adapter with these kernels; none, and a line in the log, without a
   * store.
   */
  async read(): Promise<readonly TunedOperation[]> {
    return await this.#use("kernels are tuned without it", (store) => store.operations) ?? [];
  }

  /** Adds to the file, or says in the log why it cannot. */
  async write(operations: readonly TunedOperation[]): Promise<void> {
    await this.#use("these times are not kept", (store) => store.write(operations));
  }

  async #use<T>(
    without: string,
    use: (store: TuningStore) => T | Promise<T>,
  ): Promise<T | undefined> {
    try {
      const store = await TuningStore.open(this.#path, this.#identity, this.#log);
      try {
        return await use(store);
      } finally {
        store.close();
      }
    } catch (error) {
      if (!(error instanceof StoreUnusableError)) throw error;
      this.#log.warn(`tuning store is off, ${without}`, { reason: error.message });
    }
  }
}

/**
 * Identifies what times depend on: the adapter, which some drivers name with their version; Deno,
 * which brings the compiler of the kernels; and the kernels.
 */
export function tuningIdentity({ description, capabilities }: Device): TuningIdentity {
  return {
    adapter: `${description}: ${describeFeatures(capabilities)}; Deno ${Deno.version.deno}`,
    kernels: tuningDigest(capabilities.tier, tuningFor(capabilities)),
  };
}
