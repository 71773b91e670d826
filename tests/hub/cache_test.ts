import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { findCached } from "../../src/hub/cached_model.ts";
import { HubError } from "../../src/hub/hub_errors.ts";
import { listModels } from "../../src/hub/list_models.ts";
import { parseModelReference } from "../../src/hub/model_reference.ts";
import { pullFile, pullModel } from "../../src/hub/pull_model.ts";
import { removeModel } from "../../src/hub/remove_model.ts";
import { HubRig, pattern, tinyRepo } from "../support/fake_hub.ts";
import { writePythonCache } from "../support/python_cache.ts";

const TINY = parseModelReference("acme/tiny");

function existing(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

Deno.test("what the Python client has fetched is found without a request, and pulled with one", async () => {
  await using rig = await HubRig.start();
  const commit = rig.hub.commit("acme/tiny", tinyRepo());
  const dir = writePythonCache(rig.cacheDir, "acme/tiny", tinyRepo(), { commit });
  assertEquals(findCached(rig.cacheDir, TINY), { dir, commit, missing: [] });
  assertEquals(findCached(rig.cacheDir, { ...TINY, revision: commit })?.dir, dir);
  assertEquals(findCached(rig.cacheDir, { ...TINY, revision: commit.slice(0, 8) })?.dir, dir);
  assertEquals(rig.hub.seen, []);
  assertEquals(await pullModel(rig.client(), TINY), { dir, commit, numFetched: 0 });
  assertEquals(rig.hub.paths(), ["GET /api/models/acme/tiny/revision/main"]);
});

Deno.test("a note that a file does not exist is believed, and made", async () => {
  await using rig = await HubRig.start();
  const commit = rig.hub.commit("acme/tiny", tinyRepo());
  const dir = writePythonCache(rig.cacheDir, "acme/tiny", tinyRepo(), { commit });
  assertEquals(await pullFile(rig.client(), TINY, "config.json"), dir);
  assertEquals(await pullFile(rig.client(), TINY, "adapter_config.json"), undefined);
  assertEquals(rig.hub.seen, []);
  assertEquals(await pullFile(rig.client(), TINY, "other.json"), undefined);
  const note = `${rig.cacheDir}/models--acme--tiny/.no_exist/${commit}/other.json`;
  assertEquals(Deno.statSync(note).size, 0);
  rig.hub.seen.length = 0;
  assertEquals(await pullFile(rig.client(), TINY, "other.json"), undefined);
  assertEquals(rig.hub.seen, []);
});

Deno.test("a single file is fetched by a HEAD and a GET, as the Python client does", async () => {
  await using rig = await HubRig.start();
  const commit = rig.hub.commit("acme/tiny", tinyRepo());
  const dir = await pullFile(rig.client(), TINY, "config.json");
  assertEquals(dir, `${rig.cacheDir}/models--acme--tiny/snapshots/${commit}`);
  assertEquals(rig.hub.paths(), [
    "HEAD /acme/tiny/resolve/main/config.json",
    `GET /acme/tiny/resolve/${commit}/config.json`,
  ]);
  assertEquals(findCached(rig.cacheDir, TINY)?.missing, ["its weights"]);
});

Deno.test("a model of which files are missing says which", () => {
  const cacheDir = Deno.makeTempDirSync();
  const { "model.safetensors": _, ...rest } = tinyRepo();
  const index = JSON.stringify({ weight_map: { a: "a.safetensors", b: "b.safetensors" } });
  const files = { ...rest, "model.safetensors.index.json": index, "a.safetensors": pattern(5) };
  writePythonCache(cacheDir, "acme/tiny", files);
  assertEquals(findCached(cacheDir, TINY)?.missing, ["b.safetensors"]);
  writePythonCache(cacheDir, "acme/q", {
    "m-Q4_0-00001-of-00002.gguf": pattern(5),
    "m-Q8_0.gguf": pattern(6),
  });
  const found = findCached(cacheDir, parseModelReference("acme/q:Q8_0"));
  assertEquals([found?.ggufFile, found?.missing], ["m-Q8_0.gguf", []]);
  assertEquals(findCached(cacheDir, parseModelReference("acme/q:Q4_0"))?.missing, ["its weights"]);
  assertEquals(findCached(cacheDir, parseModelReference("acme/none")), undefined);
  Deno.removeSync(cacheDir, { recursive: true });
});

Deno.test("listModels() gives names, branches, sizes and what is missing", () => {
  const cacheDir = Deno.makeTempDirSync();
  writePythonCache(cacheDir, "acme/tiny", tinyRepo(pattern(5000)));
  const next = "b".repeat(40);
  const changed = { ...tinyRepo(pattern(5000)), "config.json": "{" };
  writePythonCache(cacheDir, "acme/tiny", changed, { commit: next, ref: "dev" });
  writePythonCache(cacheDir, "gpt2", { "config.json": '{"model_type": "gpt2"}' });
  writePythonCache(cacheDir, "acme/q", { "m-Q4_0.gguf": pattern(70) });
  Deno.mkdirSync(`${cacheDir}/datasets--acme--tiny`);
  const { models, numBytes } = listModels(cacheDir);
  const shown = models.map(({ repo, refs, config, quants, missing }) => ({
    repo,
    refs,
    config,
    quants,
    missing,
  })).sort((a, b) => JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
  assertEquals(shown, [
    {
      repo: "acme/q",
      refs: ["main"],
      config: undefined,
      quants: ["Q4_0"],
      missing: ["its weights"],
    },
    { repo: "acme/tiny", refs: ["dev"], config: undefined, quants: [], missing: [] },
    { repo: "acme/tiny", refs: ["main"], config: { model_type: "llama" }, quants: [], missing: [] },
    {
      repo: "gpt2",
      refs: ["main"],
      config: { model_type: "gpt2" },
      quants: [],
      missing: ["its weights"],
    },
  ]);
  const tiny = models.find(({ refs }) => refs.includes("dev"))!;
  assert(tiny.numBytes > 5000 && numBytes > 5000 && numBytes < 5000 + 1000);
  assertEquals(listModels(`${cacheDir}/nothing`), { models: [], numBytes: 0 });
  Deno.removeSync(cacheDir, { recursive: true });
});

Deno.test("removing a revision keeps the blobs that another one has links to", () => {
  const cacheDir = Deno.makeTempDirSync();
  const first = writePythonCache(cacheDir, "acme/tiny", tinyRepo(pattern(5000)));
  const commit = "b".repeat(40);
  const second = writePythonCache(
    cacheDir,
    "acme/tiny",
    { ...tinyRepo(pattern(5000)), "config.json": '{"b": 1}', "extra/x.gguf": pattern(300) },
    { commit, ref: "dev" },
  );
  const removed = removeModel(cacheDir, { ...TINY, revision: "dev" });
  assertEquals(removed, { commits: [commit], numBytes: 300 + 8 + 40 });
  assertEquals(existing(second), false);
  assertEquals(existing(`${cacheDir}/models--acme--tiny/refs/dev`), false);
  assertEquals(Deno.readFileSync(`${first}/model.safetensors`), pattern(5000));
  const rest = removeModel(cacheDir, TINY);
  assert(rest.numBytes > 5000);
  assertEquals([...Deno.readDirSync(cacheDir)].map(({ name }) => name), [".locks"]);
  assertEquals([...Deno.readDirSync(`${cacheDir}/.locks`)], []);
  Deno.removeSync(cacheDir, { recursive: true });
});

Deno.test("removing what is not there, or is being fetched, is refused", () => {
  const cacheDir = Deno.makeTempDirSync();
  writePythonCache(cacheDir, "acme/tiny", tinyRepo());
  const messageOf = (name: string) =>
    assertThrows(() => removeModel(cacheDir, parseModelReference(name)), HubError).message;
  assertEquals(
    messageOf("acme/tny"),
    `acme/tny is not in the cache ${cacheDir}: did you mean acme/tiny?`,
  );
  assertStringIncludes(messageOf("acme/tiny@dev"), "of acme/tiny there is ");
  const locks = `${cacheDir}/.locks/models--acme--tiny`;
  const [lock] = [...Deno.readDirSync(locks)];
  const held = Deno.openSync(`${locks}/${lock!.name}`, { write: true });
  held.lockSync(true);
  assertStringIncludes(messageOf("acme/tiny"), "A process downloads acme/tiny right now");
  held.close();
  removeModel(cacheDir, TINY);
  Deno.removeSync(cacheDir, { recursive: true });
});
