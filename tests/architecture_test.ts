import { assert, assertEquals } from "@std/assert";

/** Rooms from the ground up. A file may import from its own room and from those listed for it. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "src/base": [],
  "src/std": [],
  "src/core": ["src/base"],
  "src/device": ["src/base", "src/core"],
  "src/hub": ["src/base", "src/core"],
  "src/kvcache": ["src/base", "src/core"],
  "src/plan": ["src/base", "src/core"],
  "src/state": ["src/base", "src/core"],
  "src/prefix_store": ["src/base", "src/core", "src/state"],
  "src/tokenizer": ["src/base", "src/core"],
  "src/weights": ["src/base", "src/core"],
  "src/tools": ["src/base", "src/core"],
  "src/misses": ["src/base", "src/core"],
  "src/grammar": ["src/base", "src/core", "src/tokenizer"],
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
  "src/window/page": [],
  "src/window": ["src/window/page"],
  "src/packaging": [],
  "src/client": ["src/base", "src/core"],
  "src/terminal": ["src/base"],
  "src/commands": [
    "src/base",
    "src/client",
    "src/core",
    "src/device",
    "src/hub",
    "src/plan",
    "src/runner",
    "src/server",
    "src/state",
    "src/terminal",
  ],
  "src/server": [
    "src/base",
    "src/core",
    "src/engine",
    "src/grammar",
    "src/http",
    "src/hub",
    "src/misses",
    "src/plan",
    "src/prefix_store",
    "src/runner",
    "src/state",
    "src/terminal",
    "src/tokenizer",
    "src/tools",
    "src/weights",
    "src/window",
    "kernels",
    "models",
  ],
};

/** Files that tie rooms together, each with what it may see beyond its room's list. */
const WIRING: Readonly<Record<string, readonly string[]>> = {
  "src/engine/worker.ts": ["src/grammar", "src/runner"],
};

/** Longest function, lines. */
const MAX_FUNCTION_LINES = 60;
/** A file beyond these lines is named in the report: is it still one idea? */
const MANY_LINES = 300;
/** Columns at which comments wrap. */
const MAX_COLUMNS = 100;

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

/** Calls `visitor`, by kind of node, for the syntax tree of a file. */
function walk({ path, text }: SourceFile, visitor: Deno.lint.LintVisitor): void {
  const rules = { all: { create: () => visitor } };
  Deno.lint.runPlugin({ name: "architecture", rules }, path, text);
}

/** Functions of a file, as they are written, with their lengths in lines. */
function functionsOf(file: SourceFile): { readonly place: string; readonly lines: number }[] {
  const { path, text } = file;
  const found: { place: string; lines: number }[] = [];
  const visit = ({ range: [begin, end] }: { range: [number, number] }) => {
    const line = text.slice(0, begin).split("\n").length;
    found.push({ place: `${path}:${line}`, lines: text.slice(begin, end).split("\n").length });
  };
  walk(file, {
    FunctionDeclaration: visit,
    FunctionExpression: visit,
    ArrowFunctionExpression: visit,
  });
  return found;
}

function longFunctions(file: SourceFile): string[] {
  return functionsOf(file).filter(({ lines }) => lines > MAX_FUNCTION_LINES)
    .map(({ place, lines }) => `${place} has ${lines} lines`);
}

Deno.test(`no function is longer than ${MAX_FUNCTION_LINES} lines`, () => {
  const files = product().filter(({ path }) => path.endsWith(".ts"));
  assertEquals(files.flatMap(longFunctions), []);
});

Deno.test("every kind of function is measured", () => {
  const body = "  f();\n".repeat(MAX_FUNCTION_LINES - 1);
  for (
    const [head, tail] of [
      ["function a() {", "}"],
      ["class A { method() {", "} }"],
      ["class A { get a() {", "} }"],
      ["const a = () => {", "};"],
      ["call(async function () {", "});"],
    ]
  ) {
    const path = "a.ts";
    const text = `${head}\n${body}${tail}\n`;
    assertEquals(longFunctions({ path, text }), [`a.ts:1 has ${MAX_FUNCTION_LINES + 1} lines`]);
    assertEquals(longFunctions({ path, text: text.replace("  f();\n", "") }), []);
  }
});

/** The types of the errors that a file makes, by code; an error without a type is the client's. */
function errorTypes(file: SourceFile): [code: string, type: string][] {
  const found: [string, string][] = [];
  walk(file, {
    ObjectExpression({ properties }) {
      const literals = properties.flatMap((property) =>
        property.type === "Property" && property.key.type === "Identifier" &&
          property.value.type === "Literal"
          ? [[property.key.name, String(property.value.value)] as const]
          : []
      );
      const { code, type = "invalid_request_error" } = Object.fromEntries(literals);
      if (code !== undefined) found.push([code, type]);
    },
  });
  return found;
}

Deno.test("an error code has one type", () => {
  const files = product().filter(({ path }) => path.startsWith("src/") && path.endsWith(".ts"));
  const types = new Map<string, Set<string>>();
  for (const [code, type] of files.flatMap(errorTypes)) {
    types.set(code, (types.get(code) ?? new Set()).add(type));
  }
  assert(types.get("engine_unavailable")?.has("server_error"));
  assertEquals([...types].filter(([, { size }]) => size > 1), []);
});

/** Lines of a file whose comment goes beyond the last column. */
function wideComments({ path, text }: SourceFile): string[] {
  let isInside = false;
  return text.split("\n").flatMap((line, i) => {
    if (/^\s*\/\*/.test(line)) isInside = true;
    const isComment = isInside || /(^|\s)\/\/ /.test(line);
    if (line.includes("*/")) isInside = false;
    return isComment && line.length > MAX_COLUMNS ? [`${path}:${i + 1}`] : [];
  });
}

Deno.test(`comments wrap at ${MAX_COLUMNS} columns`, () => {
  assertEquals(product().flatMap(wideComments), []);
});

Deno.test("every kind of comment is measured", () => {
  const wide = "a".repeat(MAX_COLUMNS);
  const text = `/** ${wide} */\n/**\n * ${wide}\n */\n// ${wide}\ncode(); // ${wide}\n` +
    `const url = "https://${wide}";\n/* a */ const long = "${wide}";\n`;
  assertEquals(wideComments({ path: "a", text }), ["a:1", "a:3", "a:5", "a:6", "a:8"]);
});

// A reason to look, and not to cut: a file is one idea, however long.
Deno.test.afterAll(() => {
  for (const { path, text } of product()) {
    const lines = text.split("\n").length;
    // deno-lint-ignore no-console -- a report
    if (lines > MANY_LINES) console.log(`${path} has ${lines} lines: is it one idea?`);
  }
});
