import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  buildsOf,
  compileArgs,
  leftOutOf,
  MODEL_FILES,
  PERMISSIONS,
  TARGETS,
  WORKERS,
} from "../src/packaging/compile.ts";
import { PAGE_FILES } from "../src/window/page_files.ts";
import { embeddedFiles, moduleGraph } from "./support/module_graph.ts";

const ROOT = new URL("../", import.meta.url);

Deno.test("the compiled binary holds every file that is found by URL at run time", async () => {
  const list = [...WORKERS, ...MODEL_FILES];
  const graph = await embeddedFiles();
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

Deno.test("the compiled binary holds every kernel, and the whole demo model", async () => {
  const embedded = await embeddedFiles();
  const kernels = (folder: string): string[] =>
    [...Deno.readDirSync(new URL(folder, ROOT))].flatMap(({ name, isDirectory }) =>
      isDirectory ? kernels(`${folder}${name}/`) : name.endsWith(".wgsl") ? [folder + name] : []
    );
  const wgsl = kernels("kernels/");
  assert(wgsl.length > 20);
  assertEquals(wgsl.filter((path) => !embedded.has(path)), []);
  for (const path of [...WORKERS, ...MODEL_FILES]) {
    assert((await Deno.stat(new URL(path, ROOT))).isFile, path);
  }
  const files = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"];
  for (const name of [...files, "tokenizer_config.json"]) {
    assert(MODEL_FILES.includes(`models/demo/${name}`), name);
  }
});

Deno.test("one binary is built for this machine, and one for each platform that is asked for", () => {
  assertEquals(buildsOf([]), [{ output: "quire" }]);
  assertEquals(buildsOf(["all"], "q").map(({ output }) => output), TARGETS.map((t) => `q-${t}`));
  assertEquals(buildsOf([TARGETS[4]]), [{ target: TARGETS[4], output: `quire-${TARGETS[4]}` }]);
  assertThrows(() => buildsOf(["x86_64-unknown-freebsd"]), RangeError, "aarch64-apple-darwin");
  const args = compileArgs({ target: TARGETS[1], output: "q" }, ["/cache/bintrees/1/test"]);
  const value = (flag: string) => args[args.indexOf(flag) + 1];
  assertEquals([value("--target"), value("--output"), args.at(-1)], [TARGETS[1], "q", "main.ts"]);
  assertEquals(value("--exclude"), "/cache/bintrees/1/test");
  assert(PERMISSIONS.every((flag) => args.includes(flag)));
  assert(!compileArgs({ output: "q" }, []).includes("--target"));
});

Deno.test({
  name: "deno compile takes all of it: with Deno itself in place of the runtime that it downloads",
  // Deno looks for its data in a binary of its own platform alone.
  ignore: Deno.build.os !== "linux",
  async fn() {
    const dir = await Deno.makeTempDir();
    const run = async (args: readonly string[]) => {
      const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [...args],
        cwd: ROOT,
        env: { DENORT_BIN: Deno.execPath(), NO_COLOR: "1" },
      }).output();
      const text = new TextDecoder().decode(stderr);
      assert(success, text);
      return [new TextDecoder().decode(stdout), text] as const;
    };
    const [info] = await run(["info", "--json"]);
    const leftOut = leftOutOf(JSON.parse(info).npmCache);
    assert(leftOut.length > 0, "nothing stays out of a package: is the cache another?");
    const [, listed] = await run(compileArgs({ output: `${dir}/quire` }, leftOut));
    for (const part of ["model.safetensors", "engine", "kernels", "window", "web-xgrammar"]) {
      assertStringIncludes(listed, part);
    }
    assert((await Deno.stat(`${dir}/quire`)).size > (await Deno.stat(Deno.execPath())).size);
    await Deno.remove(dir, { recursive: true });
  },
});
