import { createHash } from "node:crypto";
import { stripTypeScriptTypes } from "node:module";
import { INDEX, LIBRARIES, PAGE_FILES } from "./page_files.ts";

/** A file as a browser gets it. */
export interface WindowFile {
  readonly text: string;
  readonly headers: Readonly<Record<string, string>>;
}

const TYPES: Readonly<Record<string, string>> = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
  ts: "text/javascript; charset=utf-8",
};

/** Where the modules of the page find the libraries. */
const IMPORT_MAP = JSON.stringify({
  imports: Object.fromEntries(
    Object.keys(LIBRARIES).map((name) => [name, `./window/${libraryFile(name)}`]),
  ),
});

/**
 * Files of this server's own, styles set by its own scripts, and calls of its own API: nothing
 * else, so that markup in an answer that got past the sanitizer would still not run, and could
 * fetch nothing.
 */
const POLICY = [
  "default-src 'none'",
  `script-src 'self' ${hashOf(IMPORT_MAP)}`,
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const prepared = new Map<string, WindowFile>();

/**
 * A file of the window as a browser gets it, prepared when first asked for; undefined where there
 * is none.
 *
 * @param path of the URL: `/`, or one below `/window/`.
 */
export function windowFile(path: string): WindowFile | undefined {
  const known = prepared.get(path);
  if (known !== undefined) return known;
  const text = textOf(path);
  if (text === undefined) return undefined;
  const file = { text, headers: headersOf(path, text) };
  prepared.set(path, file);
  return file;
}

/** Paths of all files of the window. */
export function windowPaths(): string[] {
  const names = [...Object.keys(PAGE_FILES), ...Object.keys(LIBRARIES).map(libraryFile)];
  return ["/", ...names.map((name) => `/window/${name}`)];
}

function textOf(path: string): string | undefined {
  if (path === "/") {
    return INDEX.replace(
      '"importmap"></script>',
      () => `"importmap">${IMPORT_MAP}</script>\n${preloads()}`,
    );
  }
  const name = path.slice("/window/".length);
  const own = Object.hasOwn(PAGE_FILES, name) ? PAGE_FILES[name]! : undefined;
  if (own === undefined) {
    const library = Object.keys(LIBRARIES).find((library) => libraryFile(library) === name);
    return library === undefined ? undefined : withoutSourceMap(LIBRARIES[library]!);
  }
  return name.endsWith(".ts") ? stripTypeScriptTypes(own) : own;
}

/** Links by which a browser fetches all modules at once, instead of each after its importer. */
function preloads(): string {
  return windowPaths().filter((path) => /\.(ts|js)$/.test(path) && path !== "/window/theme.ts")
    .map((path) => `    <link rel="modulepreload" href="${path.slice(1)}">`).join("\n");
}

/** The source maps of libraries are not served. */
function withoutSourceMap(text: string): string {
  return text.replace(/^\/\/# sourceMappingURL=.*$/m, "");
}

function libraryFile(name: string): string {
  return `lib/${name.replace("/", "-")}.js`;
}

function headersOf(path: string, text: string): Record<string, string> {
  const extension = path === "/" ? "html" : path.split(".").at(-1)!;
  return {
    "content-type": TYPES[extension]!,
    // Asked for each time and sent once: the page is the one that belongs to this server.
    "cache-control": "no-cache",
    "etag": `"${createHash("sha256").update(text).digest("base64url").slice(0, 22)}"`,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    ...(path === "/" ? { "content-security-policy": POLICY, "vary": "accept" } : {}),
  };
}

function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
