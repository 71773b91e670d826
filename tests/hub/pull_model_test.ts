import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { DownloadProgress } from "../../src/hub/download_progress.ts";
import { HubError } from "../../src/hub/hub_errors.ts";
import { parseModelReference } from "../../src/hub/model_reference.ts";
import { type PulledModel, pullModel, type PullOptions } from "../../src/hub/pull_model.ts";
import { gitBlobId, HubRig, pattern, sha256, tinyRepo } from "../support/fake_hub.ts";

function pull(rig: HubRig, name: string, options: PullOptions = {}): Promise<PulledModel> {
  return pullModel(rig.client(), parseModelReference(name), options);
}

async function refusal(work: Promise<unknown>, kind: HubError["kind"]): Promise<string> {
  const error = await assertRejects(() => work, HubError);
  assertEquals(error.kind, kind);
  return error.message;
}

Deno.test("a model arrives in the Python client's layout, and nothing else does", async () => {
  await using rig = await HubRig.start();
  const weights = pattern(5000);
  const commit = rig.hub.commit("acme/tiny", tinyRepo(weights));
  const progress = new DownloadProgress();
  const { dir, commit: pulled, numFetched } = await pull(rig, "acme/tiny", { progress });
  const folder = `${rig.cacheDir}/models--acme--tiny`;
  assertEquals([dir, pulled], [`${folder}/snapshots/${commit}`, commit]);
  assertEquals(numFetched, 5000 + '{"model_type": "llama"}{}'.length);
  assertEquals(progress.state.total, { size: numFetched, done: numFetched });
  assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name).sort(), [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
  ]);
  assertEquals(await Deno.readTextFile(`${folder}/refs/main`), commit);
  const config = new TextEncoder().encode('{"model_type": "llama"}');
  assertEquals(await Deno.readLink(`${dir}/config.json`), `../../blobs/${gitBlobId(config)}`);
  assertEquals(await Deno.readLink(`${dir}/model.safetensors`), `../../blobs/${sha256(weights)}`);
  assertEquals(await Deno.readFile(`${dir}/model.safetensors`), weights);
  const tree = JSON.parse(await Deno.readTextFile(`${folder}/trees/${commit}.json`));
  assertEquals(tree.format_version, 1);
  assertEquals(tree.files["model.safetensors"].lfs_sha256, sha256(weights));
});

Deno.test("a second pull asks for the revision alone", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  await pull(rig, "acme/tiny");
  rig.hub.seen.length = 0;
  const { numFetched } = await pull(rig, "acme/tiny");
  assertEquals(numFetched, 0);
  assertEquals(rig.hub.paths(), ["GET /api/models/acme/tiny/revision/main"]);
});

Deno.test("a new commit fetches what has changed and links what has not", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  await pull(rig, "acme/tiny");
  const next = rig.hub.commit("acme/tiny", { ...tinyRepo(), "config.json": '{"a": 1}' });
  const { dir, numFetched } = await pull(rig, "acme/tiny");
  assertEquals(numFetched, '{"a": 1}'.length);
  assert(dir.endsWith(next));
  assertEquals(await Deno.readFile(`${dir}/model.safetensors`), pattern(5000));
  assertEquals(rig.hub.paths("cdn").length, 1);
});

Deno.test("sharded weights are fetched by their index, the listing page by page", async () => {
  await using rig = await HubRig.start();
  rig.hub.pageSize = 2;
  const shards = { "a.safetensors": pattern(700, 1), "b.safetensors": pattern(800, 2) };
  const map = { x: "a.safetensors", y: "b.safetensors", z: "a.safetensors" };
  const { "model.safetensors": _, ...rest } = tinyRepo();
  rig.hub.commit("acme/sharded", {
    ...rest,
    ...shards,
    "unused.safetensors": pattern(900),
    "model.safetensors.index.json": JSON.stringify({ weight_map: map }),
  });
  const { dir } = await pull(rig, "acme/sharded");
  for (const [name, data] of Object.entries(shards)) {
    assertEquals(await Deno.readFile(`${dir}/${name}`), data);
  }
  assertEquals(rig.hub.paths("cdn").length, 2);
  assertEquals(rig.hub.paths().filter((path) => path.includes("/tree/")).length, 5);
});

Deno.test("a quantization brings its GGUF file, or all parts of a split one", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny-GGUF", {
    "config.json": "{}",
    "tiny-Q4_K_M.gguf": pattern(400),
    "tiny-Q8_0.gguf": pattern(500),
    "BF16/tiny-BF16-00001-of-00002.gguf": pattern(600, 1),
    "BF16/tiny-BF16-00002-of-00002.gguf": pattern(600, 2),
    "mmproj-tiny-F16.gguf": pattern(100),
  });
  const filesOf = async (name: string) => {
    rig.hub.seen.length = 0;
    await pull(rig, name);
    return rig.hub.seen.filter(({ method }) => method === "HEAD")
      .map(({ path }) => path.split("/").at(-1)).sort();
  };
  assertEquals(await filesOf("acme/tiny-GGUF:q4_k_m"), ["tiny-Q4_K_M.gguf"]);
  assertEquals(await filesOf("acme/tiny-GGUF:tiny-Q8_0.gguf"), ["tiny-Q8_0.gguf"]);
  const parts = ["tiny-BF16-00001-of-00002.gguf", "tiny-BF16-00002-of-00002.gguf"];
  assertEquals(await filesOf("acme/tiny-GGUF:BF16"), parts);
  const missing = await refusal(pull(rig, "acme/tiny-GGUF:Q2_K"), "no-file");
  assertEquals(
    missing,
    "acme/tiny-GGUF has no GGUF file of Q2_K: it has BF16, Q4_K_M, Q8_0",
  );
  assertStringIncludes(
    await refusal(pull(rig, "acme/tiny-GGUF"), "no-file"),
    "name one, such as acme/tiny-GGUF:BF16",
  );
});

Deno.test("where links are refused a file stands in the snapshot itself", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  const client = rig.client({ usesSymlinks: false });
  const { dir } = await pullModel(client, parseModelReference("acme/tiny"));
  const file = `${dir}/model.safetensors`;
  assertEquals((await Deno.lstat(file)).isSymlink, false);
  assertEquals(await Deno.readFile(file), pattern(5000));
  // Moved, and not kept twice.
  assertEquals([...Deno.readDirSync(`${dir}/../../blobs`)], []);
  rig.hub.seen.length = 0;
  await pullModel(client, parseModelReference("acme/tiny"));
  assertEquals(rig.hub.seen.length, 1);
});

Deno.test("where links are refused a blob that others link to is copied", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  const first = await pull(rig, "acme/tiny");
  rig.hub.commit("acme/tiny", { ...tinyRepo(), "config.json": "{}" });
  const second = await pullModel(
    rig.client({ usesSymlinks: false }),
    parseModelReference("acme/tiny"),
  );
  assertEquals((await Deno.lstat(`${second.dir}/model.safetensors`)).isSymlink, false);
  for (const { dir } of [first, second]) {
    assertEquals(await Deno.readFile(`${dir}/model.safetensors`), pattern(5000));
  }
});

Deno.test("a revision is a branch, a tag or a commit, with slashes as well", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  const commit = rig.hub.commit("acme/tiny", tinyRepo(pattern(10)), "refs/pr/1");
  assertEquals((await pull(rig, "acme/tiny@refs/pr/1")).commit, commit);
  const folder = `${rig.cacheDir}/models--acme--tiny`;
  assertEquals(await Deno.readTextFile(`${folder}/refs/refs/pr/1`), commit);
  assertEquals((await pull(rig, `acme/tiny@${commit}`)).numFetched, 0);
  assertEquals([...Deno.readDirSync(`${folder}/refs`)].map(({ name }) => name), ["refs"]);
});

Deno.test("beforeWeights() sees the config and the size, and can stop before the first byte", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  const stopped = new Error("not wanted");
  const error = await assertRejects(() =>
    pull(rig, "acme/tiny", {
      beforeWeights(seen) {
        assertEquals(seen, { config: '{"model_type": "llama"}', numBytes: 5000 });
        return Promise.reject(stopped);
      },
    })
  );
  assertEquals(error, stopped);
  assertEquals(rig.hub.paths("cdn"), []);
});

Deno.test("a disk that is too small is said before the first byte of weights", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  const message = await refusal(
    pull(rig, "acme/tiny", { freeBytes: () => 64 * 2 ** 20 + 4999 }),
    "disk",
  );
  assertStringIncludes(message, "The download takes 4.88 KiB, and 64 MiB are free at ");
  assertStringIncludes(message, rig.cacheDir);
  assertEquals(rig.hub.paths("cdn"), []);
  await pull(rig, "acme/tiny", { freeBytes: () => 64 * 2 ** 20 + 5000 });
});
