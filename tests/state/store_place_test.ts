import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { StartupError } from "../../src/core/errors.ts";
import { PREFIX_STORE, TUNING_STORE } from "../../src/state/store_kinds.ts";
import { StoreUnusableError } from "../../src/state/store_errors.ts";
import { StoreFile } from "../../src/state/store_file.ts";
import { checkStorePlace, isMarked } from "../../src/state/store_place.ts";
import { TuningStore } from "../../src/state/tuning_store.ts";
import { logLines } from "../support/log_lines.ts";

const IDENTITY = { adapter: "a GPU", kernels: "d1" };
const HEAD = { operation: "head", variant: "wide", micros: { wide: 3 } };

async function inFolder(test: (dir: string) => void | Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await test(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function openTuning(path: string) {
  const { log, lines } = logLines();
  return { store: await TuningStore.open(path, IDENTITY, log), lines };
}

async function makeTuningStore(path: string): Promise<void> {
  const { store } = await openTuning(path);
  await store.write([HEAD]);
  store.close();
}

/** Every file below a folder with its bytes, or what a link says. */
function snapshot(dir: string): Record<string, unknown> {
  const entries = [...Deno.readDirSync(dir)].sort((a, b) => a.name < b.name ? -1 : 1);
  return Object.fromEntries(entries.map(({ name, isFile, isSymlink }) => {
    const path = `${dir}/${name}`;
    return [
      name,
      isSymlink ? Deno.readLinkSync(path) : isFile ? Deno.readFileSync(path) : "folder",
    ];
  }));
}

function makeDatabase(path: string): void {
  const db = new DatabaseSync(path);
  db.exec("CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine')");
  db.close();
}

async function makeKv(path: string): Promise<void> {
  const kv = await Deno.openKv(path);
  await kv.set(["header"], "somebody's");
  kv.close();
}

const OTHERS: readonly [string, string, (path: string) => void | Promise<void>][] = [
  [
    "a text file",
    "a text file",
    (path) => Deno.writeTextFileSync(path, "Zwölf Notizen\n".repeat(50)),
  ],
  ["one byte of text", "a text file", (path) => Deno.writeTextFileSync(path, "x")],
  [
    "a binary",
    "a file of another format",
    (path) => Deno.writeFileSync(path, new Uint8Array(5000)),
  ],
  ["a database", "an SQLite database of another program", makeDatabase],
  ["a Deno KV file", "an SQLite database of another program", makeKv],
  ["a tuning store", "a tuning store of Quire", makeTuningStore],
  ["a directory", "a directory", (path) => Deno.mkdirSync(path)],
  ["a dangling link", "a symbolic link to nothing", (path) => Deno.symlinkSync(`${path}-no`, path)],
];

for (const [name, description, make] of OTHERS) {
  Deno.test(`checkStorePlace() refuses ${name} by name, and it stays as it is`, () =>
    inFolder(async (dir) => {
      const path = `${dir}/mine`;
      await make(path);
      const before = snapshot(dir);
      const place = { path, kind: PREFIX_STORE };
      for (const use of [checkStorePlace, (asked: typeof place) => StoreFile.claim(asked)]) {
        const { message } = assertThrows(() => use(place), StartupError);
        assertEquals(
          message,
          `--prefix-store ${path} is ${description}, not a prefix store of Quire, and stays as it is: ` +
            "give a prefix store, a path where nothing lies, or none",
        );
      }
      assertEquals(snapshot(dir), before);
    }));
}

Deno.test("checkStorePlace() takes a place where nothing lies, an empty file, and a store of the kind", () =>
  inFolder(async (dir) => {
    const place = (name: string) => ({ path: `${dir}/${name}`, kind: TUNING_STORE });
    assertEquals(checkStorePlace(place("nothing")), `${dir}/nothing`);
    Deno.writeFileSync(`${dir}/empty`, new Uint8Array());
    assertEquals(checkStorePlace(place("empty")), `${dir}/empty`);
    await makeTuningStore(`${dir}/empty`);
    assertEquals(checkStorePlace(place("empty")), `${dir}/empty`);
    assert(isMarked(place("empty")));
  }));

Deno.test("a store made before there were marks is known by its contents, and marked", () =>
  inFolder(async (dir) => {
    const place = { path: `${dir}/a #1?%41.sqlite3`, kind: TUNING_STORE };
    await makeTuningStore(place.path);
    const db = new DatabaseSync(place.path);
    db.exec("PRAGMA application_id = 0");
    db.close();
    assertEquals(isMarked(place), false);
    assertThrows(() => checkStorePlace({ ...place, kind: PREFIX_STORE }), StartupError, "another");
    assertEquals((await openTuning(place.path)).store.operations, [HEAD]);
    assert(isMarked(place));
  }));

Deno.test("a store keeps its mark when all but its first page is torn, and is set aside", () =>
  inFolder(async (dir) => {
    const path = `${dir}/tuning`;
    await makeTuningStore(path);
    const bytes = Deno.readFileSync(path);
    Deno.writeFileSync(path, bytes.fill(0xff, 512));
    const { store, lines } = await openTuning(path);
    await store.write([HEAD]);
    store.close();
    assertEquals(lines.map(({ moved_to }) => moved_to), [undefined, `${path}.damaged-1`]);
    assertEquals(Deno.readFileSync(`${path}.damaged-1`), bytes);
    assertEquals((await openTuning(path)).store.operations, [HEAD]);
  }));

Deno.test("a file under our name in our own folder is ours whatever it holds", () =>
  inFolder(async (dir) => {
    const before = Deno.env.get("XDG_STATE_HOME");
    Deno.env.set("XDG_STATE_HOME", dir);
    try {
      const path = `${dir}/quire/tuning.sqlite3`;
      Deno.mkdirSync(`${dir}/quire`);
      Deno.writeTextFileSync(path, "not a database ".repeat(999));
      const { store, lines } = await openTuning(path);
      assertEquals([store.operations, lines.length], [[], 1]);
      await store.write([HEAD]);
      store.close();
      assertEquals(lines[1]!.moved_to, `${path}.damaged-1`);
      Deno.renameSync(`${path}.damaged-1`, `${dir}/quire/notes.sqlite3`);
      await assertRejects(() => openTuning(`${dir}/quire/notes.sqlite3`), StartupError, "a text");
    } finally {
      if (before === undefined) Deno.env.delete("XDG_STATE_HOME");
      else Deno.env.set("XDG_STATE_HOME", before);
    }
  }));

Deno.test("a store behind a symbolic link is used where it lies, and the link stays", () =>
  inFolder(async (dir) => {
    await makeTuningStore(`${dir}/real`);
    Deno.symlinkSync(`${dir}/real`, `${dir}/link`);
    const kv = await Deno.openKv(`${dir}/real`);
    await kv.set(["header"], { formatVersion: 99 });
    kv.close();
    const { store, lines } = await openTuning(`${dir}/link`);
    await store.write([HEAD]);
    store.close();
    assertEquals(lines[1]!.moved_to, `${Deno.realPathSync(dir)}/real.foreign-1`);
    assertEquals(Deno.readLinkSync(`${dir}/link`), `${dir}/real`);
    Deno.writeTextFileSync(`${dir}/notes`, "mine");
    Deno.removeSync(`${dir}/link`);
    Deno.symlinkSync(`${dir}/notes`, `${dir}/link`);
    await assertRejects(() => openTuning(`${dir}/link`), StartupError, "is a text file");
  }));

Deno.test({
  name: "a read-only store is left alone, whoever asks",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (dir) => {
      const path = `${dir}/tuning`;
      await makeTuningStore(path);
      Deno.chmodSync(path, 0o444);
      const before = snapshot(dir);
      await assertRejects(() => openTuning(path), StoreUnusableError, "read-only");
      assertEquals(snapshot(dir), before);
    }),
});
