import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { StoreUnusableError } from "../../src/state/store_errors.ts";
import { TuningStore } from "../../src/state/tuning_store.ts";
import { logLines } from "../support/log_lines.ts";

const HERE = { adapter: "a GPU", kernels: "d1" };
const HEAD = { operation: "head 512x64 f16, 1 row", variant: "wide", micros: { wide: 3, tall: 4 } };
const DOWN = { operation: "down 64x128 f16, 1 row", variant: "tall", micros: { wide: 2, tall: 1 } };

function inFolder(test: (path: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const dir = await Deno.makeTempDir();
    try {
      await test(`${dir}/state/tuning.sqlite3`);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  };
}

async function open(path: string, identity = HERE) {
  const { log, lines } = logLines();
  return { store: await TuningStore.open(path, identity, log), lines };
}

async function operationsIn(path: string, identity = HERE) {
  const { store } = await open(path, identity);
  store.close();
  return store.operations;
}

Deno.test(
  "TuningStore gives back what was timed for the same adapter and kernels only",
  inFolder(async (path) => {
    const { store } = await open(path);
    assertEquals(store.operations, []);
    await store.write([HEAD, DOWN]);
    store.close();
    assertEquals(await operationsIn(path), [DOWN, HEAD]);
    assertEquals(await operationsIn(path, { ...HERE, adapter: "another" }), []);
    assertEquals(await operationsIn(path, { ...HERE, kernels: "d2" }), []);
  }),
);

Deno.test(
  "TuningStore replaces what it knows of an operation",
  inFolder(async (path) => {
    const { store } = await open(path);
    await store.write([HEAD]);
    const later = { ...HEAD, variant: "tall", micros: { wide: 5, tall: 4 } };
    await store.write([later]);
    store.close();
    assertEquals(await operationsIn(path), [later]);
  }),
);

Deno.test(
  "TuningStore counts a store of another version as empty, and sets it aside with the first write",
  inFolder(async (path) => {
    (await open(path)).store.close();
    const theirs = await Deno.openKv(path);
    await theirs.set(["header"], { formatVersion: 99 });
    theirs.close();
    const { store, lines } = await open(path);
    assertEquals(store.operations, []);
    assertEquals(lines.map(({ message }) => message), ["tuning store is foreign and not used"]);
    await store.write([HEAD]);
    assertEquals(lines.slice(1).map(({ moved_to }) => moved_to), [`${path}.foreign-1`]);
    store.close();
    assertEquals(await operationsIn(path), [HEAD]);
    const found = await Deno.openKv(`${path}.foreign-1`);
    assertEquals((await found.get(["header"])).value, { formatVersion: 99 });
    found.close();
  }),
);

Deno.test(
  "TuningStore refuses a file that another process has open",
  inFolder(async (path) => {
    const { store } = await open(path);
    const error = await assertRejects(() => open(path), StoreUnusableError);
    assertStringIncludes(error.message, "--tuning-store");
    store.close();
  }),
);
