import { assert, assertEquals } from "@std/assert";
import { PAGE_FILES } from "../src/window/page_files.ts";

const ROOT = new URL("../", import.meta.url);

/** What the `compile` task puts into the binary beside the module graph. */
async function included(): Promise<string[]> {
  const config = await Deno.readTextFile(new URL("deno.json", ROOT));
  const [, task] = /"command": "(deno compile [^"]*)"/.exec(config) ?? [];
  assert(task !== undefined, "deno.json has no compile task");
  assert(task.endsWith(" main.ts"), "the compile task does not build main.ts");
  return [...task.matchAll(/--include (\S+)/g)].map(([, path]) => path!);
}

/** Every local module reachable from `entry`, as paths below the root. */
async function moduleGraph(entry: string): Promise<string[]> {
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", entry],
    cwd: ROOT,
  }).output();
  assert(success);
  const { modules } = JSON.parse(new TextDecoder().decode(stdout));
  return (modules as { specifier: string; error?: string }[])
    .map(({ specifier, error }) => {
      assert(error === undefined, `${specifier}: ${error}`);
      return specifier;
    })
    .filter((specifier) => specifier.startsWith(ROOT.href))
    .map((specifier) => specifier.slice(ROOT.href.length));
}

Deno.test("the compiled binary holds every file that is found by URL at run time", async () => {
  const list = await included();
  const graph = new Set([...await moduleGraph("main.ts"), ...list]);
  for (const worker of list.filter((path) => path.endsWith(".ts"))) {
    for (const path of await moduleGraph(worker)) graph.add(path);
  }
  const missing: string[] = [];
  for (const path of graph) {
    if (!path.endsWith(".ts")) continue;
    const text = await Deno.readTextFile(new URL(path, ROOT));
    for (const [, reference] of text.matchAll(/new URL\("([^"]+)", import\.meta\.url\)/g)) {
      const target = new URL(reference!, new URL(path, ROOT)).href.slice(ROOT.href.length);
      if (!list.some((item) => item === target || item.startsWith(target))) missing.push(target);
    }
  }
  assertEquals(missing, []);
  assert(list.length > 2 && graph.size > 50, "the graph was not walked");
});

Deno.test("the compiled binary holds every file of the window", async () => {
  const graph = new Set(await moduleGraph("main.ts"));
  const paths = Object.keys(PAGE_FILES).map((name) => `src/window/page/${name}`);
  const own = paths.filter((path) => !path.endsWith("/uplot.css"));
  assertEquals([...own, "src/window/page/index.html"].filter((path) => !graph.has(path)), []);
});

Deno.test("the compiled binary holds the whole demo model", async () => {
  const list = await included();
  for (const path of list) assert((await Deno.stat(new URL(path, ROOT))).isFile, path);
  const files = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"];
  for (const name of [...files, "tokenizer_config.json"]) {
    assert(list.includes(`models/demo/${name}`), name);
  }
});
