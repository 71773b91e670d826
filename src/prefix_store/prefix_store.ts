import { z } from "zod";
import type { Logger } from "../base/log.ts";
import { toBatches } from "./kv_batches.ts";
import type { PrefixRecord, RecordChanges } from "./prefix_record.ts";
import { KvFile } from "../state/kv_file.ts";
import { UnfitStoreError } from "../state/store_errors.ts";
import { PREFIX_STORE } from "../state/store_kinds.ts";

/** What prefixes depend on besides their tokens; a store made for other values is set aside. */
export interface StoreIdentity {
  readonly modelFingerprint: string;
  /** Element type and order of a block's bytes. */
  readonly kvLayout: string;
  /** Token positions per block. */
  readonly blockSize: number;
}

/** Raised with every change of what lies under the keys below. */
const FORMAT_VERSION = 1;
const HEADER_KEY = ["header"];
const SECRET_KEY = ["cache_secret"];
/** Followed by the block's key. */
const RECORDS_KEY = "prefixes";
const SECRET_BYTES = 32;
/** More than the encoding adds to the texts and tokens of a record. */
const OVERHEAD_BYTES = 256;

const HeaderSchema = z.object({
  formatVersion: z.int(),
  modelFingerprint: z.string(),
  kvLayout: z.string(),
  blockSize: z.int(),
});

type Bytes = Uint8Array<ArrayBuffer>;

/** What a sound store holds. */
interface Contents {
  readonly cacheSecret: Bytes;
  readonly records: readonly PrefixRecord[];
}

/**
 * Records of prefixes in a file, in Deno KV, so that they outlive the process.
 *
 *     ["header"]           format version, model fingerprint, KV layout, block size
 *     ["cache_secret"]     the deployment's secret: scopes and block keys are named with it
 *     ["prefixes", KEY]    one record per block
 *
 * At any moment, also that of a crash, every record's parent is in the store: batches are atomic,
 * put parents first and remove children first.
 */
export class PrefixStore {
  readonly #file: KvFile<Contents>;

  private constructor(file: KvFile<Contents>) {
    this.#file = file;
  }

  /**
   * Opens the store at `path`, or makes one. One that is damaged or of another model counts as
   * empty, with a line in the log, and is set aside by the first write.
   *
   * @throws {StartupError} when what lies there is no store of this kind.
   * @throws {StoreUnusableError} when there can be none at this path.
   */
  static async open(path: string, identity: StoreIdentity, log: Logger): Promise<PrefixStore> {
    const format = {
      read: (kv: Deno.Kv) => readContents(kv, identity),
      create: () => ({
        cacheSecret: crypto.getRandomValues(new Uint8Array(SECRET_BYTES)),
        records: [],
      }),
      initialize: (kv: Deno.Kv, { cacheSecret }: Contents) => initialize(kv, identity, cacheSecret),
    };
    const listener = {
      onUnfit: (kind: string, reason: string) =>
        log.warn(`prefix store is ${kind}, the cache starts cold`, { path, reason }),
      onSetAside: (movedTo: string) =>
        log.warn("prefix store is set aside", { path, moved_to: movedTo }),
    };
    return new PrefixStore(
      await KvFile.open<Contents>({ path, kind: PREFIX_STORE }, format, listener),
    );
  }

  /** Secret of this deployment, made at its first start. */
  get cacheSecret(): Uint8Array<ArrayBuffer> {
    return this.#file.contents.cacheSecret;
  }

  /** What was in the store when it was opened. */
  get records(): readonly PrefixRecord[] {
    return this.#file.contents.records;
  }

  /** Writes changes, in batches; when it throws, a part of them may have been written. */
  async write({ put, remove }: RecordChanges): Promise<void> {
    const kv = await this.#file.writable();
    for (const batch of toBatches(put, recordBytes)) {
      const atomic = kv.atomic();
      for (const record of batch) atomic.set([RECORDS_KEY, record.key], record);
      await atomic.commit();
    }
    for (const batch of toBatches(remove, (key) => OVERHEAD_BYTES + 2 * key.length)) {
      const atomic = kv.atomic();
      for (const key of batch) atomic.delete([RECORDS_KEY, key]);
      await atomic.commit();
    }
  }

  /** Closes the file; another process may open it then. */
  close(): void {
    this.#file.close();
  }
}

/** An upper bound, since the encoding takes two bytes for some characters. */
function recordBytes({ key, parentKey, scope, tokens }: PrefixRecord): number {
  return OVERHEAD_BYTES + 4 * key.length + 2 * parentKey.length + 2 * scope.length +
    tokens.byteLength;
}

/** The contents of a store of this identity, or undefined for a file without any. */
async function readContents(kv: Deno.Kv, identity: StoreIdentity): Promise<Contents | undefined> {
  try {
    const header = (await kv.get(HEADER_KEY)).value;
    if (header === null) {
      for await (const _ of kv.list({ prefix: [] }, { limit: 1 })) {
        throw new UnfitStoreError("foreign", "it was written by another program");
      }
      return undefined;
    }
    checkHeader(HeaderSchema.parse(header), identity);
    const cacheSecret = SecretSchema.parse((await kv.get(SECRET_KEY)).value);
    const schema = recordSchema(identity.blockSize);
    const records: PrefixRecord[] = [];
    for await (const { value } of kv.list({ prefix: [RECORDS_KEY] }, { batchSize: 500 })) {
      records.push(schema.parse(value));
    }
    return { cacheSecret, records };
  } catch (error) {
    if (error instanceof UnfitStoreError) throw error;
    const reason = error instanceof z.ZodError ? error.issues[0]!.message : String(error);
    throw new UnfitStoreError("damaged", reason);
  }
}

const SecretSchema = z.custom<Bytes>(
  (value) => value instanceof Uint8Array && value.length === SECRET_BYTES,
  `the secret is not ${SECRET_BYTES} bytes`,
);

function recordSchema(blockSize: number) {
  return z.object({
    key: z.string(),
    parentKey: z.string(),
    scope: z.string(),
    tokens: z.custom<Uint32Array>(
      (value) => value instanceof Uint32Array && value.length === blockSize,
      `the tokens of a block are not ${blockSize}`,
    ),
    hits: z.number().nonnegative(),
    lastUsed: z.number().nonnegative(),
  });
}

function checkHeader(header: z.infer<typeof HeaderSchema>, identity: StoreIdentity): void {
  const differs = (what: string, theirs: unknown, ours: unknown) =>
    new UnfitStoreError("foreign", `its ${what} is ${theirs}, here it is ${ours}`);
  if (header.formatVersion !== FORMAT_VERSION) {
    throw differs("format version", header.formatVersion, FORMAT_VERSION);
  }
  if (header.modelFingerprint !== identity.modelFingerprint) {
    const short = (fingerprint: string) => fingerprint.slice(0, 12);
    throw differs("model", short(header.modelFingerprint), short(identity.modelFingerprint));
  }
  if (header.kvLayout !== identity.kvLayout) {
    throw differs("KV layout", header.kvLayout, identity.kvLayout);
  }
  if (header.blockSize !== identity.blockSize) {
    throw differs("block size", header.blockSize, identity.blockSize);
  }
}

async function initialize(
  kv: Deno.Kv,
  identity: StoreIdentity,
  cacheSecret: Bytes,
): Promise<void> {
  const { modelFingerprint, kvLayout, blockSize } = identity;
  await kv.atomic()
    .set(HEADER_KEY, { formatVersion: FORMAT_VERSION, modelFingerprint, kvLayout, blockSize })
    .set(SECRET_KEY, cacheSecret)
    .commit();
}
