import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../", import.meta.url);

/** Lines of the root README, so that it stays the way in and not the whole. */
const MAX_README_LINES = 150;
/** Lines of a room's README; a shorter one says nothing, a longer one is a page of `docs`. */
const ROOM_LINES = { min: 20, max: 60 };
/** Rooms whose READMEs are the theory of what they hold. */
const LONG_READMES = ["src/kvcache", "kernels"];

/** Folders in which nobody writes pages by hand. */
const SKIPPED = /^(\.git|node_modules|bench\/results)(\/|$)/;
const LINK = /\[[^\]]*\]\(([^)\s]+)\)/g;

interface Page {
  readonly path: string;
  readonly text: string;
}

function* pagesIn(folder: string): Generator<Page> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(`./${folder}`, ROOT))) {
    const path = `${folder}${name}`;
    if (SKIPPED.test(path)) continue;
    if (isDirectory) yield* pagesIn(`${path}/`);
    else if (path.endsWith(".md")) yield { path, text: read(path) };
  }
}

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT));
}

/** A page without its code, where brackets are no links. */
function prose(text: string): string {
  return text.replace(/^ {4}.*$/gm, "").replace(
    /`[^`\n]*`/g,
    (code) => code.replace(/[[\]]/g, " "),
  );
}

/** Names by which a page's headings can be linked to, as GitHub makes them. */
function anchorsOf(text: string): string[] {
  return [...prose(text).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
  );
}

/** What is wrong with a page's links to pages and files of the repository. */
function brokenLinks({ path, text }: Page): string[] {
  return [...prose(text).matchAll(LINK)].map(([, target]) => target!)
    .filter((target) => !/^[a-z]+:/.test(target))
    .filter((target) => !leadsSomewhere(target, path))
    .map((target) => `${path}: ${target}`);
}

function leadsSomewhere(target: string, from: string): boolean {
  const url = new URL(target, new URL(from, ROOT));
  const anchor = url.hash.slice(1);
  url.hash = "";
  try {
    const { isFile } = Deno.statSync(url);
    return anchor === "" || isFile && anchorsOf(Deno.readTextFileSync(url)).includes(anchor);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function numLines(text: string): number {
  return text.trimEnd().split("\n").length;
}

/** The folders that own something, by their place in the tree. */
function rooms(): string[] {
  const inside = [...Deno.readDirSync(new URL("src/", ROOT))]
    .filter(({ isDirectory }) => isDirectory).map(({ name }) => `src/${name}`);
  return [...inside, "kernels", "models", "tests", "bench"].sort();
}

Deno.test("every relative link of every page leads to a file, and to a heading of it", () => {
  const pages = [...pagesIn("")];
  assert(pages.length > 30, `${pages.length} pages`);
  assertEquals(pages.flatMap(brokenLinks), []);
});

Deno.test("a link to nothing is found, and so is one to a heading that is not there", () => {
  const text =
    "[a](README.md) [b](nowhere.md) [c](#what) [d](docs/operations.md#exit-codes)\n# What\n" +
    "[e](README.md#nothing) `[f](g)` [h](https://example.org)\n\n    [i](j)\n";
  const page = { path: "README.md", text };
  assertEquals(brokenLinks(page), [
    "README.md: nowhere.md",
    "README.md: #what",
    "README.md: README.md#nothing",
  ]);
});

Deno.test("the README is short, and leads to every page of docs", () => {
  const readme = read("README.md");
  const length = numLines(readme);
  assert(length <= MAX_README_LINES, `${length} lines, at most ${MAX_README_LINES}`);
  const linked = [...readme.matchAll(LINK)].map(([, target]) => target);
  const pages = [...pagesIn("docs/")].map(({ path }) => path)
    .filter((path) => !path.startsWith("docs/decisions/") || path.endsWith("README.md"));
  assertEquals(pages.filter((path) => !linked.includes(path)), []);
});

Deno.test("every decision is listed", () => {
  const list = read("docs/decisions/README.md");
  const names = [...Deno.readDirSync(new URL("docs/decisions/", ROOT))].map(({ name }) => name);
  assertEquals(names.filter((name) => name !== "README.md" && !list.includes(`(${name})`)), []);
});

Deno.test("every room has a README of a page that the root README links to", () => {
  const readme = read("README.md");
  for (const room of rooms()) {
    const length = numLines(read(`${room}/README.md`));
    const { min, max } = ROOM_LINES;
    const isLong = LONG_READMES.includes(room) || room === "bench";
    assert(length >= min && (isLong || length <= max), `${room}/README.md has ${length} lines`);
    assert(readme.includes(`(${room}/README.md)`), `README.md does not link to ${room}/README.md`);
  }
});

/** Source files that a page names as code, placeholders such as `NAME.ts` aside. */
function filesNamedIn(text: string): string[] {
  return [...text.matchAll(/`([\w/.-]+\.(?:ts|wgsl|py|conf|sh))`/g)].map(([, name]) => name!)
    .filter((name) => !name.includes("NAME"));
}

function* filesIn(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(`./${folder}`, ROOT))) {
    const path = `${folder}${name}`;
    if (SKIPPED.test(path)) continue;
    if (isDirectory) yield* filesIn(`${path}/`);
    else yield path;
  }
}

Deno.test("a page names no source file that is not there, and a room's README none of elsewhere", () => {
  const paths = new Set(filesIn(""));
  const names = new Set([...paths].map((path) => path.split("/").at(-1)!));
  const wrong = [...pagesIn("")].flatMap(({ path, text }) => {
    const folder = path.slice(0, path.lastIndexOf("/") + 1);
    const exists = (file: string) =>
      paths.has(file) || paths.has(`${folder}${file}`) ||
      !folder.startsWith("src/") && names.has(file.split("/").at(-1)!);
    return filesNamedIn(text).filter((file) => !exists(file)).map((file) => `${path}: ${file}`);
  });
  assertEquals(wrong, []);
});
