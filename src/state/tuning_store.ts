import { z } from "zod";
import type { Logger } from "../base/log.ts";
import { KvFile } from "./kv_file.ts";
import { UnfitStoreError } from "./store_errors.ts";
import { TUNING_STORE } from "./store_kinds.ts";

/** One operation of one shape, timed in each of its variants on one adapter. */
export interface TunedOperation {
  /** Operation, shape and size of step in words; two models with it in common share the choice. */
  readonly operation: string;
  /** Name of the variant that is used. */
  readonly variant: string;
  /** Best time of each variant, in microseconds. */
  readonly micros: Readonly<Record<string, number>>;
}

/** What times depend on beside the operation. */
export interface TuningIdentity {
  /** The adapter in words, driver included where it says so. */
  readonly adapter: string;
  /** Digest of the kernels' sources: a changed kernel is timed again. */
  readonly kernels: string;
}

/** Raised with every change of what lies under the keys below. */
const FORMAT_VERSION = 1;
const HEADER_KEY = ["header"];
/** Followed by adapter, digest and operation. */
const OPERATIONS_KEY = "operations";

/** Records written at once, far below what Deno KV takes of writes (1,000) and bytes (800 KiB). */
const MAX_WRITES = 100;

const HeaderSchema = z.object({ formatVersion: z.literal(FORMAT_VERSION) });
const OperationSchema = z.object({
  operation: z.string(),
  variant: z.string(),
  micros: z.record(z.string(), z.number().nonnegative()),
});

/**
 * Times of kernel variants in a file, in Deno KV, so that a machine is tuned once.
 *
 *     ["header"]                                  format version
 *     ["operations", ADAPTER, DIGEST, OPERATION]  one timed operation
 */
export class TuningStore {
  readonly #file: KvFile<readonly TunedOperation[]>;
  readonly #identity: TuningIdentity;

  private constructor(file: KvFile<readonly TunedOperation[]>, identity: TuningIdentity) {
    this.#file = file;
    this.#identity = identity;
  }

  /**
   * Opens the store at `path`, or makes one. One that is damaged or of another version counts as
   * empty, with a line in the log, and is set aside by the first write.
   *
   * @throws {StartupError} when what lies there is no store of this kind.
   * @throws {StoreUnusableError} when none can be made at this path, or another process has it.
   */
  static async open(path: string, identity: TuningIdentity, log: Logger): Promise<TuningStore> {
    const format = {
      read: (kv: Deno.Kv) => readOperations(kv, identity),
      create: () => [],
      async initialize(kv: Deno.Kv) {
        await kv.set(HEADER_KEY, { formatVersion: FORMAT_VERSION });
      },
    };
    const listener = {
      onUnfit: (kind: string, reason: string) =>
        log.warn(`tuning store is ${kind} and not used`, { path, reason }),
      onSetAside: (movedTo: string) =>
        log.warn("tuning store is set aside", { path, moved_to: movedTo }),
    };
    const file = await KvFile.open({ path, kind: TUNING_STORE }, format, listener);
    return new TuningStore(file, identity);
  }

  /** What had been timed for this identity when the store was opened. */
  get operations(): readonly TunedOperation[] {
    return this.#file.contents;
  }

  /** Adds operations, or replaces what is known of them. */
  async write(operations: readonly TunedOperation[]): Promise<void> {
    const { adapter, kernels } = this.#identity;
    const kv = await this.#file.writable();
    for (let at = 0; at < operations.length; at += MAX_WRITES) {
      const atomic = kv.atomic();
      for (const record of operations.slice(at, at + MAX_WRITES)) {
        atomic.set([OPERATIONS_KEY, adapter, kernels, record.operation], record);
      }
      await atomic.commit();
    }
  }

  /** Closes the file; another process may open it then. */
  close(): void {
    this.#file.close();
  }
}

async function readOperations(
  kv: Deno.Kv,
  { adapter, kernels }: TuningIdentity,
): Promise<readonly TunedOperation[] | undefined> {
  const header = (await kv.get(HEADER_KEY)).value;
  if (header === null) {
    for await (const _ of kv.list({ prefix: [] }, { limit: 1 })) {
      throw new UnfitStoreError("foreign", "it was written by another program");
    }
    return undefined;
  }
  try {
    HeaderSchema.parse(header);
    const operations: TunedOperation[] = [];
    for await (const { value } of kv.list({ prefix: [OPERATIONS_KEY, adapter, kernels] })) {
      operations.push(OperationSchema.parse(value));
    }
    return operations;
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    throw new UnfitStoreError("foreign", error.issues[0]!.message);
  }
}
