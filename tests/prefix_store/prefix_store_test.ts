import {
  assert,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import type { PrefixRecord } from "../../src/prefix_store/prefix_record.ts";
import { PrefixStore, type StoreIdentity } from "../../src/prefix_store/prefix_store.ts";
import { StoreUnusableError } from "../../src/state/store_errors.ts";
import { logLines } from "../support/log_lines.ts";
import { BLOCK, recordOf } from "./prefix_events.ts";

const IDENTITY: StoreIdentity = { modelFingerprint: "f00d", kvLayout: "f16", blockSize: BLOCK };

/** A folder of its own for each test, which no other server's file lies in. */
function inFolder(test: (path: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const dir = await Deno.makeTempDir();
    try {
      await test(`${dir}/state/prefixes.sqlite3`);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  };
}

async function open(path: string, identity = IDENTITY) {
  const { log, lines } = logLines();
  return { store: await PrefixStore.open(path, identity, log), lines };
}

function byKey(records: Iterable<PrefixRecord>): PrefixRecord[] {
  return [...records].sort((a, b) => a.key < b.key ? -1 : 1);
}

const RECORDS = byKey([
  recordOf("a", { hits: 0.25, lastUsed: 1_700_000_000_000 }),
  recordOf("ab"),
  recordOf("x", { scope: "5c09e" }),
]);

async function filled(path: string): Promise<void> {
  const { store } = await open(path);
  await store.write({ put: RECORDS, remove: [] });
  store.close();
}

Deno.test(
  "PrefixStore gives back what was written, and the secret of its first start",
  inFolder(async (path) => {
    const first = (await open(path)).store;
    assertEquals([first.records, first.cacheSecret.length], [[], 32]);
    await first.write({ put: RECORDS, remove: [] });
    await first.write({
      put: [recordOf("ab", { hits: 7 })],
      remove: [recordOf("x", { scope: "5c09e" }).key],
    });
    first.close();
    const { store, lines } = await open(path);
    assertEquals(byKey(store.records), [RECORDS[1]!, recordOf("ab", { hits: 7 })]);
    assertEquals(store.cacheSecret, first.cacheSecret);
    assertEquals(lines, []);
    store.close();
  }),
);

Deno.test(
  "PrefixStore makes its folder and file for the owner's eyes alone",
  inFolder(async (path) => {
    (await open(path)).store.close();
    if (Deno.build.os === "windows") return;
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
    assertEquals(Deno.statSync(path.replace("/prefixes.sqlite3", "")).mode! & 0o777, 0o700);
  }),
);

Deno.test(
  "PrefixStore.write() takes more than one atomic write may hold",
  inFolder(async (path) => {
    const blockSize = 1024;
    const records = Array.from({ length: 3000 }, (_, i): PrefixRecord => ({
      key: `${i}`.padStart(32, "0"),
      parentKey: "root",
      scope: "s".repeat(64),
      tokens: new Uint32Array(blockSize).fill(i),
      hits: i,
      lastUsed: i,
    }));
    const first = (await open(path, { ...IDENTITY, blockSize })).store;
    await first.write({ put: records, remove: [] });
    first.close();
    const second = (await open(path, { ...IDENTITY, blockSize })).store;
    assertEquals(byKey(second.records), records);
    await second.write({ put: [], remove: records.slice(1).map(({ key }) => key) });
    second.close();
    const third = (await open(path, { ...IDENTITY, blockSize })).store;
    assertEquals(third.records, records.slice(0, 1));
    third.close();
  }),
);

for (
  const [name, change, reason] of [
    ["model", { modelFingerprint: "beef" }, "its model is f00d, here it is beef"],
    ["layout", { kvLayout: "f32" }, "its KV layout is f16, here it is f32"],
    ["block size", { blockSize: 4 }, `its block size is ${BLOCK}, here it is 4`],
  ] as const
) {
  Deno.test(
    `PrefixStore.open() sets the store of another ${name} aside, and starts cold`,
    inFolder(async (path) => {
      await filled(path);
      const { store, lines } = await open(path, { ...IDENTITY, ...change });
      assertEquals(store.records, []);
      assertEquals(lines.map(({ message }) => message), [
        "prefix store is foreign, the cache starts cold",
      ]);
      assertEquals(lines[0]!.reason, reason);
      await store.write({ put: [], remove: ["none"] });
      assertEquals(lines.slice(1).map(({ moved_to }) => moved_to), [`${path}.foreign-1`]);
      store.close();
      Deno.renameSync(`${path}.foreign-1`, path);
      const again = await open(path);
      assertEquals(byKey(again.store.records), RECORDS);
      again.store.close();
    }),
  );
}

/** Overwrites every third page of a database, the first excepted. */
function spoilPages(path: string): void {
  const bytes = Deno.readFileSync(path);
  assert(bytes.length > 3 * 4096, "too few pages to spoil");
  for (let i = 4096; i < bytes.length; i++) if ((i >> 12) % 3 === 0) bytes[i] = i & 255;
  Deno.writeFileSync(path, bytes);
}

for (
  const [name, damage] of [
    ["half a file", (path: string) => Deno.truncateSync(path, Deno.statSync(path).size / 2)],
    ["a file with spoiled pages", spoilPages],
    ["a file with a spoiled record", (path: string) => spoilValue(path, ["prefixes", "k"], 7)],
    [
      "a file with a short secret",
      (path: string) => spoilValue(path, ["cache_secret"], new Uint8Array(3)),
    ],
  ] as const
) {
  Deno.test(
    `PrefixStore.open() sets ${name} aside, and starts cold`,
    inFolder(async (path) => {
      await filled(path);
      await damage(path);
      const { store, lines } = await open(path);
      assertEquals(store.records, []);
      assertEquals(lines.length, 1);
      await store.write({ put: RECORDS, remove: [] });
      assertEquals(lines.map(({ level, moved_to }) => [level, moved_to]), [
        ["warn", undefined],
        ["warn", `${path}.damaged-1`],
      ]);
      store.close();
      const again = await open(path);
      assertEquals([again.store.records.length, again.lines], [3, []]);
      again.store.close();
    }),
  );
}

async function spoilValue(path: string, key: string[], value: unknown): Promise<void> {
  const kv = await Deno.openKv(path);
  await kv.set(key, value);
  kv.close();
}

Deno.test(
  "PrefixStore.open() moves nothing of what it cannot use until something is written",
  inFolder(async (path) => {
    await filled(path);
    const before = await Deno.readFile(path);
    const { store } = await open(path, { ...IDENTITY, kvLayout: "f32" });
    assertEquals(store.cacheSecret.length, 32);
    store.close();
    assertEquals(await Deno.readFile(path), before);
    const again = await open(path);
    assertEquals([byKey(again.store.records), again.lines], [RECORDS, []]);
    again.store.close();
  }),
);

Deno.test(
  "PrefixStore.write() keeps the secret under which scopes have been named since the start",
  inFolder(async (path) => {
    await filled(path);
    const { store } = await open(path, { ...IDENTITY, kvLayout: "f32" });
    await store.write({ put: RECORDS, remove: [] });
    store.close();
    const again = await open(path, { ...IDENTITY, kvLayout: "f32" });
    assertEquals(again.store.cacheSecret, store.cacheSecret);
    assertEquals(byKey(again.store.records), RECORDS);
    again.store.close();
  }),
);

Deno.test(
  "PrefixStore.open() keeps four files set aside, the oldest gives way",
  inFolder(async (path) => {
    const openAs = async (modelFingerprint: string) => {
      const { store, lines } = await open(path, { ...IDENTITY, modelFingerprint });
      await store.write({ put: RECORDS, remove: [] });
      store.close();
      return lines[1]?.moved_to;
    };
    for (const n of [0, 1, 2, 3, 4]) {
      assertEquals(await openAs(`model ${n}`), n === 0 ? undefined : `${path}.foreign-${n}`);
    }
    for (const n of [1, 2, 3, 4]) Deno.utimeSync(`${path}.foreign-${n}`, 0, n === 3 ? 1 : 2);
    assertEquals(await openAs("model 5"), `${path}.foreign-3`);
  }),
);

Deno.test(
  "PrefixStore.open() refuses a file that another server uses, and takes it afterwards",
  inFolder(async (path) => {
    const { store } = await open(path);
    const error = await assertRejects(() => open(path), StoreUnusableError);
    assertStringIncludes(error.message, "Another server uses");
    store.close();
    (await open(path)).store.close();
  }),
);

Deno.test(
  "PrefixStore.open() refuses a folder, and a place that cannot be written as unusable",
  inFolder(async (path) => {
    Deno.mkdirSync(path, { recursive: true });
    await assertRejects(() => open(path), StartupError, `--prefix-store ${path} is a directory`);
    await assertRejects(() => open("/dev/null/prefixes"), StoreUnusableError, "/dev/null");
  }),
);

Deno.test({
  name: "PrefixStore.open() asks for no permission that the server was not given",
  permissions: { read: true, write: false, env: true, sys: true, run: false },
  async fn() {
    const error = await assertRejects(() => open("/tmp/quire-none/p"), StoreUnusableError);
    assertEquals(
      error.message,
      "Not allowed to write /tmp/quire-none: start with --allow-write=/tmp/quire-none, or choose another --prefix-store",
    );
  },
});

Deno.test(
  "PrefixStore loses nothing that was written when its process is killed",
  inFolder(async (path) => {
    const { store } = await open(path);
    store.close();
    const writer = new URL("./store_writer.ts", import.meta.url).pathname;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", writer, path],
      stdout: "piped",
    }).spawn();
    let written = "";
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      written += text;
      if (written.split("\n").length > 6) break;
    }
    child.kill("SIGKILL");
    await child.status;
    const { store: after, lines } = await open(path);
    assertEquals(lines, []);
    const numWritten = Number(written.trim().split("\n").at(-1));
    assert(after.records.length >= numWritten, `${after.records.length} of ${numWritten}`);
    const keys = new Set(after.records.map(({ key }) => key));
    for (const { parentKey } of after.records) {
      assert(parentKey === "root" || keys.has(parentKey), "a record without its parent");
    }
    assertEquals(after.cacheSecret, store.cacheSecret);
    after.close();
  }),
);

Deno.test(
  "PrefixStore survives a copy of its files taken while it is open",
  inFolder(async (path) => {
    const { store } = await open(path);
    await store.write({ put: RECORDS, remove: [] });
    const copy = `${path}.copy`;
    for (const suffix of ["", "-wal"]) {
      await Deno.copyFile(`${path}${suffix}`, `${copy}${suffix}`);
    }
    const { store: ofCopy, lines } = await open(copy);
    assertEquals([byKey(ofCopy.records), lines], [RECORDS, []]);
    ofCopy.close();
    store.close();
    // Its main file alone lacks what lay in the log: no harm but the loss.
    await Deno.copyFile(path, `${path}.main`);
    const { store: ofMain } = await open(`${path}.main`);
    assertNotEquals(ofMain.cacheSecret.length, 0);
    ofMain.close();
  }),
);
