// deno-lint-ignore-file no-console -- says what is skipped
import { assert, assertEquals } from "@std/assert";
import { findCached } from "../../src/hub/cached_model.ts";
import { parseModelReference } from "../../src/hub/model_reference.ts";
import { pullModel } from "../../src/hub/pull_model.ts";
import { removeModel } from "../../src/hub/remove_model.ts";
import { HubRig, pattern, sha256, tinyRepo } from "../support/fake_hub.ts";

/** A Python that has `huggingface_hub`; the client itself, where this machine has it. */
const PYTHON = Deno.env.get("QUIRE_TEST_HF_PYTHON") ?? "python3";
const HAS_CLIENT = await new Deno.Command(PYTHON, {
  args: ["-c", "import huggingface_hub, filelock"],
  stdout: "null",
  stderr: "null",
}).output().then(({ success }) => success, () => false);
if (!HAS_CLIENT) {
  console.log(
    "Skipped: no Python with huggingface_hub (pip install huggingface_hub, QUIRE_TEST_HF_PYTHON)",
  );
}

const TINY = parseModelReference("acme/tiny");

/** Runs lines of Python against a rig's hub and cache; returns what they print. */
async function python(rig: HubRig, lines: string, env: Record<string, string> = {}) {
  const { success, stdout, stderr } = await new Deno.Command(PYTHON, {
    args: ["-c", `from huggingface_hub import *\n${lines}`],
    env: { ...rig.env, HF_HUB_DISABLE_XET: "1", HF_HUB_DISABLE_TELEMETRY: "1", ...env },
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

function clientTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore: !HAS_CLIENT, fn });
}

clientTest("the Python client uses what we have fetched, offline as well", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  const { dir } = await pullModel(rig.client(), TINY);
  rig.hub.seen.length = 0;
  const one = "print(hf_hub_download('acme/tiny', 'model.safetensors'))";
  assertEquals(await python(rig, one), `${dir}/model.safetensors`);
  const all = "print(snapshot_download('acme/tiny', allow_patterns=['*.json', '*.safetensors']))";
  assertEquals(await python(rig, all), dir);
  assertEquals(rig.hub.seen.filter(({ path }) => path.includes("/tree/")), []);
  assertEquals(rig.hub.paths("cdn"), []);
  rig.hub.seen.length = 0;
  assertEquals(await python(rig, one, { HF_HUB_OFFLINE: "1" }), `${dir}/model.safetensors`);
  assertEquals(await python(rig, all, { HF_HUB_OFFLINE: "1" }), dir);
  assertEquals(rig.hub.seen, []);
  const scan =
    "i = scan_cache_dir()\nprint([(r.repo_id, len(r.revisions)) for r in i.repos], i.warnings)";
  assertEquals(await python(rig, scan), "[('acme/tiny', 1)] []");
});

clientTest("we use what the Python client has fetched, and remove it", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  const dir = await python(
    rig,
    "print(snapshot_download('acme/tiny', allow_patterns=['*.json', '*.safetensors']))",
  );
  rig.hub.seen.length = 0;
  assertEquals(findCached(rig.cacheDir, TINY)?.missing, []);
  assertEquals((await pullModel(rig.client(), TINY)).dir, dir);
  assertEquals(rig.hub.paths(), ["GET /api/models/acme/tiny/revision/main"]);
  removeModel(rig.cacheDir, TINY);
  assertEquals(await python(rig, "print(len(scan_cache_dir().repos))"), "0");
});

clientTest("its locks and ours exclude each other", async () => {
  await using rig = await HubRig.start();
  const weights = pattern(5000);
  rig.hub.commit("acme/tiny", tinyRepo(weights));
  const locks = `${rig.cacheDir}/.locks/models--acme--tiny`;
  await Deno.mkdir(locks, { recursive: true });
  const holder = new Deno.Command(PYTHON, {
    args: [
      "-c",
      "import sys, filelock\nwith filelock.FileLock(sys.argv[1]):\n  print('held', flush=True)\n" +
      "  sys.stdin.read()",
      `${locks}/${sha256(weights)}.lock`,
    ],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = holder.stdout.getReader();
  await reader.read();
  const notes: string[] = [];
  const { promise: waits, resolve } = Promise.withResolvers<void>();
  const pulling = pullModel(rig.client(), TINY, {
    note(line) {
      notes.push(line);
      resolve();
    },
  });
  await waits;
  assertEquals(notes, ["Another process downloads model.safetensors: waiting for it"]);
  assertEquals(rig.hub.paths("cdn"), []);
  await holder.stdin.close();
  await pulling;
  assertEquals(rig.hub.paths("cdn").length, 1);
  await reader.cancel();
  await holder.status;
});
