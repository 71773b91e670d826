import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { LIBRARIES, PAGE_FILES } from "../../src/window/page_files.ts";
import { windowAnswer } from "../../src/window/window_answer.ts";
import { windowFile, windowPaths } from "../../src/window/window_page.ts";
import { testServer } from "../http/server.ts";

const FOLDER = new URL("../../src/window/page/", import.meta.url);
const IMPORT = /(?:import|export)\s[^"';]*?from\s*["']([^"']+)["']/g;

/** Files below a folder of the page, by their paths in it. */
function filesIn(folder = ""): string[] {
  return [...Deno.readDirSync(new URL(`./${folder}`, FOLDER))].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesIn(`${folder}${name}/`) : [`${folder}${name}`]
  );
}

Deno.test("every file of the page is served, and no other", () => {
  const files = filesIn().filter((name) => name !== "index.html");
  // One is a library's.
  assertEquals(Object.keys(PAGE_FILES).sort(), [...files, "uplot.css"].sort());
  for (const path of windowPaths()) assert(windowFile(path) !== undefined, path);
  for (const path of ["/window/", "/window/index.html", "/window/toString", "/window/lib/x.js"]) {
    assertEquals(windowFile(path), undefined);
  }
});

Deno.test("what the modules import is served, and what the page refers to as well", () => {
  const scripts = windowPaths().filter((path) => /\.(ts|js)$/.test(path));
  let numImports = 0;
  for (const path of scripts) {
    for (const [, specifier] of windowFile(path)!.text.matchAll(IMPORT)) {
      numImports++;
      const isLibrary = Object.hasOwn(LIBRARIES, specifier!);
      const target = new URL(specifier!, `http://x${path}`).pathname;
      assert(isLibrary || windowFile(target) !== undefined, `${path}: ${specifier}`);
    }
  }
  assert(numImports > 50, `${numImports} imports`);
  const { text } = windowFile("/")!;
  const { imports } = JSON.parse(/"importmap">(.*?)<\/script>/.exec(text)![1]!);
  const named = [...text.matchAll(/(?:src|href)="(window\/[^"]+)"/g)].map(([, path]) => path!);
  for (const path of [...named, ...Object.values<string>(imports)]) {
    assert(windowFile(new URL(path, "http://x/").pathname) !== undefined, path);
  }
});

Deno.test("types are taken out of what a browser gets, and lines stay where they are", () => {
  const { text, headers } = windowFile("/window/conversation.ts")!;
  assertEquals(headers["content-type"], "text/javascript; charset=utf-8");
  assert(!/\binterface\b|: readonly /.test(text.replace(/\/\*[\s\S]*?\*\//g, "")));
  assertEquals(text.split("\n").length, PAGE_FILES["conversation.ts"]!.split("\n").length);
});

Deno.test("the page comes from this server alone", () => {
  for (const path of ["/", ...windowPaths().filter((path) => /\.(css|html|svg)$/.test(path))]) {
    const text = windowFile(path)!.text.replaceAll("http://www.w3.org/2000/svg", "");
    assert(!/https?:\/\/|url\(["']?(\w+:|\/)/.test(text), path);
  }
  const policy = windowFile("/")!.headers["content-security-policy"]!;
  assert(!/unsafe|\*|https?:/.test(policy), policy);
  for (const directive of ["default-src 'none'", "form-action 'none'", "base-uri 'none'"]) {
    assertStringIncludes(policy, directive);
  }
});

Deno.test("a file that the browser has is not sent again", async () => {
  const get = (headers: HeadersInit = {}) =>
    windowAnswer(new Request("http://127.0.0.1/window/app.ts", { headers }))!;
  const first = get();
  const etag = first.headers.get("etag")!;
  assert((await first.text()).length > 100);
  const second = get({ "if-none-match": etag });
  assertEquals([second.status, await second.text()], [304, ""]);
  assertEquals(get({ "if-none-match": '"other"' }).status, 200);
});

Deno.test("a browser gets the window at /, and others are led to the page of the API", async () => {
  const server = testServer({ access: { apiKeys: ["k"], adminKeys: [], hostname: "127.0.0.1" } });
  const accept = "text/html,application/xhtml+xml,*/*;q=0.8";
  const page = await server.request("/", { headers: { accept } });
  assertEquals(page.status, 200);
  assertStringIncludes(page.headers.get("vary") ?? "", "accept");
  assertStringIncludes(await page.text(), "<title>Quire</title>");
  const other = await server.request("/", { headers: { accept: "*/*" } });
  assertEquals([other.status, other.headers.get("location")], [302, "/docs"]);
  assertStringIncludes(other.headers.get("vary") ?? "", "accept");
  const missing = await server.request("/window/nothing.ts");
  assertEquals([missing.status, (await missing.json()).error.code], [404, "not_found"]);
});
