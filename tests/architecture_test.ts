import { assertEquals } from "@std/assert";

/** Rooms from the ground up. A file may import from its own room and from those listed for it. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "src/base": [],
  "src/std": [],
  "src/core": ["src/base"],
  "src/device": ["src/base", "src/core"],
  "src/kvcache": ["src/base", "src/core"],
  "src/plan": ["src/base", "src/core"],
  "src/state": ["src/base", "src/core"],
  "src/prefix_store": ["src/base", "src/core", "src/state"],
  "src/tokenizer": ["src/base", "src/core"],
  "src/weights": ["src/base", "src/core"],
  "src/scheduler": ["src/base", "src/core", "src/kvcache"],
  "kernels": ["src/base", "src/core", "src/device"],
  "models": ["src/base", "src/core", "src/device", "kernels"],
  "src/runner": [
    "src/base",
    "src/core",
    "src/device",
    "src/state",
    "src/weights",
    "kernels",
    "models",
  ],
  "src/engine": ["src/base", "src/core", "src/kvcache", "src/scheduler"],
  "src/http": ["src/base", "src/core", "src/std"],
  "src/server": [
    "src/base",
    "src/core",
    "src/engine",
    "src/http",
    "src/plan",
    "src/prefix_store",
    "src/runner",
    "src/state",
    "src/tokenizer",
    "src/weights",
    "kernels",
    "models",
  ],
};

/** Files that tie rooms together, each with what it may see beyond its room's list. */
const WIRING: Readonly<Record<string, readonly string[]>> = {
  "src/engine/worker.ts": ["src/runner"],
};

/** Longest file that is still one thing. */
const MAX_LINES = 300;

const ROOT = new URL("../", import.meta.url);
const IMPORT = /^(?:import|export)\b[^"']*?from\s+"(\.[^"]+)"/gm;

interface SourceFile {
  readonly path: string;
  readonly text: string;
}

function* sourceFiles(folder: string): Generator<SourceFile> {
  for (const entry of Deno.readDirSync(new URL(folder, ROOT))) {
    const path = `${folder}${entry.name}`;
    if (entry.isDirectory) yield* sourceFiles(`${path}/`);
    else if (/\.(ts|wgsl)$/.test(path)) {
      yield { path, text: Deno.readTextFileSync(new URL(path, ROOT)) };
    }
  }
}

function product(): SourceFile[] {
  return ["src/", "kernels/", "models/"].flatMap((folder) => [...sourceFiles(folder)]);
}

function roomOf(path: string): string {
  return Object.keys(MAY_IMPORT).find((room) => path.startsWith(`${room}/`)) ?? path;
}

/** Files that a file imports. */
function importsOf({ path, text }: SourceFile): string[] {
  return [...text.matchAll(IMPORT)].map(([, specifier]) =>
    new URL(specifier!, new URL(path, ROOT)).href.slice(ROOT.href.length)
  );
}

Deno.test("every import goes down the layers", () => {
  const wrong: string[] = [];
  for (const file of product()) {
    const from = roomOf(file.path);
    const allowed = [from, ...MAY_IMPORT[from] ?? [], ...WIRING[file.path] ?? []];
    for (const target of importsOf(file)) {
      if (!allowed.includes(roomOf(target))) wrong.push(`${file.path} -> ${target}`);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("no file imports itself by way of others, not even for a type", () => {
  const left = new Map(product().map((file) => [file.path, importsOf(file)]));
  // Whoever imports nothing that is left stands on solid ground; what remains in the end goes in circles.
  for (let size = Infinity; left.size < size;) {
    size = left.size;
    for (const [path, targets] of left) {
      if (!targets.some((target) => left.has(target))) left.delete(path);
    }
  }
  assertEquals([...left.keys()], []);
});

Deno.test("every source file lies in a known room", () => {
  const homeless = product().map(({ path }) => path).filter((path) => roomOf(path) === path);
  assertEquals(homeless, []);
});

Deno.test("no file grows beyond one thing", () => {
  const long = product().filter(({ text }) => text.split("\n").length > MAX_LINES);
  assertEquals(long.map(({ path }) => path), []);
});
