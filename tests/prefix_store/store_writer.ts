/** A process that writes ever longer paths to the store at `Deno.args[0]` until it is killed. */
// deno-lint-ignore-file no-console -- says what is written
import { createLogger } from "../../src/base/log.ts";
import type { PrefixRecord } from "../../src/prefix_store/prefix_record.ts";
import { PrefixStore } from "../../src/prefix_store/prefix_store.ts";

const identity = { modelFingerprint: "f00d", kvLayout: "f16", blockSize: 2 };
const store = await PrefixStore.open(Deno.args[0]!, identity, createLogger());
const keyOf = (n: number) => n < 0 ? "root" : String(n).padStart(8, "0");
for (let numRecords = 0;; numRecords += 700) {
  const put = Array.from({ length: 700 }, (_, i): PrefixRecord => ({
    key: keyOf(numRecords + i),
    parentKey: keyOf(numRecords + i - 1),
    scope: "",
    tokens: Uint32Array.of(1, 2),
    hits: 1,
    lastUsed: 1,
  }));
  await store.write({ put, remove: [] });
  console.log(numRecords + put.length);
}
