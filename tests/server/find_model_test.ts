import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { findConfig, findLocalModel, findModel } from "../../src/server/find_model.ts";
import { whyGgufNotRunnable } from "../../src/server/why_not_runnable.ts";
import { DEMO_DIR } from "../support/demo_engine.ts";
import { tinyRepo } from "../support/fake_hub.ts";
import { writePythonCache } from "../support/python_cache.ts";
import { smallGguf } from "../weights/gguf/small_gguf.ts";

/** Runs `work` with an offline cache, in which `acme/tiny` is whole. */
async function withCache(work: (cacheDir: string) => Promise<void>): Promise<void> {
  const home = Deno.makeTempDirSync();
  const before = ["HF_HOME", "HF_HUB_OFFLINE"].map((name) => [name, Deno.env.get(name)] as const);
  Deno.env.set("HF_HOME", home);
  Deno.env.set("HF_HUB_OFFLINE", "1");
  try {
    writePythonCache(`${home}/hub`, "acme/tiny", tinyRepo());
    await work(`${home}/hub`);
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
    Deno.removeSync(home, { recursive: true });
  }
}

Deno.test("a model is the bundled one, a directory, or a name in the cache", async () => {
  await withCache(async (cacheDir) => {
    assertEquals((await findModel(undefined, { yes: false })).name, "quire-demo");
    assertEquals((await findModel(DEMO_DIR, { yes: false })).name, "demo");
    assertEquals((await findModel("models/demo", { yes: false })).name, "demo");
    const tiny = await findModel("acme/tiny@main", { yes: false });
    assertEquals(tiny.name, "acme/tiny");
    assertStringIncludes(tiny.dir, `${cacheDir}/models--acme--tiny/snapshots/`);
    assertEquals(findLocalModel("acme/tiny"), tiny);
    writePythonCache(cacheDir, "gpt2", tinyRepo());
    assertEquals(findLocalModel("gpt2").name, "gpt2");
    assertEquals(await findConfig("acme/tiny"), tiny);
    assertEquals(await findConfig("models/demo"), undefined);
    assertEquals(await findConfig("llama-2-7b"), undefined);
  });
});

Deno.test("paths are no names: what is missing or is a file is said as a path", async () => {
  await withCache(async () => {
    for (const path of ["/nowhere/at/all", "./a/b", "nowhere", "models/README.md"]) {
      const { message } = await assertRejects(() => findModel(path, { yes: true }), StartupError);
      assertStringIncludes(message, `--model ${JSON.stringify(path)} is not a directory`);
    }
  });
});

Deno.test("what is not whole in the cache is fetched by a command, and not offline", async () => {
  await withCache(async (cacheDir) => {
    const { message } = assertThrows(() => findLocalModel("acme/none"), StartupError);
    assertEquals(
      message,
      `"acme/none" is no directory, and not in the cache ${cacheDir}: fetch it with ` +
        "quire pull acme/none",
    );
    const { "model.safetensors": _, ...rest } = tinyRepo();
    writePythonCache(cacheDir, "acme/part", rest);
    const part = assertThrows(() => findLocalModel("acme/part"), StartupError).message;
    assertStringIncludes(part, "not whole (its weights) in the cache");
    const offline = await assertRejects(() => findModel("acme/none", { yes: true }), StartupError);
    assertStringIncludes(offline.message, "HF_HUB_OFFLINE forbids to fetch it");
    const shard = await assertRejects(
      () => findModel("acme/a:b.safetensors", { yes: true }),
      StartupError,
    );
    assertStringIncludes(shard.message, "names a safetensors file, which quire pull alone takes");
  });
});

Deno.test("a GGUF file is found by its path, and in the cache by its quantization", async () => {
  await withCache(async (cacheDir) => {
    const files = { "m-Q8_0.gguf": smallGguf(), "m-Q4_0-00001-of-00002.gguf": "part" };
    writePythonCache(cacheDir, "acme/m", files);
    const found = await findModel("acme/m:Q8_0", { yes: false });
    assertEquals(found.name, "acme/m");
    assertEquals(found.dir.split("/").at(-1), "m-Q8_0.gguf");
    assertEquals(findLocalModel("acme/m:m-Q8_0.gguf"), found);
    assertEquals(await findConfig("acme/m:Q8_0"), found);
    const part = assertThrows(() => findLocalModel("acme/m:Q4_0"), StartupError).message;
    assertStringIncludes(part, "not whole (");
    const link = `${cacheDir}/other-00001-of-00001.gguf`;
    Deno.symlinkSync(found.dir, link);
    assertEquals(findLocalModel(link), { dir: link, name: "other" });
    assertEquals(whyGgufNotRunnable(found.dir), undefined);
    const broken = `${cacheDir}/broken.gguf`;
    Deno.writeTextFileSync(broken, "GGUF");
    assertEquals(whyGgufNotRunnable(broken), `${broken} is not a GGUF file`);
  });
});
