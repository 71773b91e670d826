import { assertEquals, assertStringIncludes } from "@std/assert";
import { type Fault, HubRig, pattern, sha256, tinyRepo } from "../support/fake_hub.ts";
import { MainProcess } from "../support/main_process.ts";

/** The faults that the downloads of the weights meet, one after the other. */
async function rigWith(weights: Uint8Array, faults: Fault[]): Promise<HubRig> {
  const rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo(weights));
  rig.hub.fault = ({ host }) => host === "cdn" ? faults.shift() : undefined;
  return rig;
}

function pull(rig: HubRig): MainProcess {
  return new MainProcess(["pull", "acme/tiny"], rig.env);
}

/** Waits until something holds, and gives up after a minute. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; !await holds(); i++) {
    if (i === 6000) throw new Error(`not after a minute: ${holds}`);
    await new Promise((next) => setTimeout(next, 10));
  }
}

/** Waits until so many requests for the weights have come. */
function requested(rig: HubRig, count: number): Promise<void> {
  return until(() => rig.hub.paths("cdn").length >= count);
}

/** Waits until so many bytes of the weights lie in the cache. */
function arrived(rig: HubRig, weights: Uint8Array, count: number): Promise<void> {
  const path = `${rig.cacheDir}/models--acme--tiny/blobs/${sha256(weights)}.incomplete`;
  return until(() => Deno.stat(path).then(({ size }) => size >= count, () => false));
}

Deno.test("of two processes at once one downloads, and the other waits and uses it", async () => {
  const weights = pattern(100_000);
  const { promise, resolve } = Promise.withResolvers<void>();
  await using rig = await rigWith(weights, [{ after: promise }]);
  await using first = pull(rig);
  await requested(rig, 1);
  await using second = pull(rig);
  await second.says("Another process downloads model.safetensors: waiting for it");
  resolve();
  assertEquals([await first.code(), await second.code()], [0, 0]);
  assertEquals(rig.hub.paths("cdn").length, 1);
  assertEquals(first.stdout, second.stdout);
  assertEquals(await Deno.readFile(`${first.stdout.trim()}/model.safetensors`), weights);
});

Deno.test("a process that dies while it downloads is succeeded by the one that waits", async () => {
  const weights = pattern(100_000);
  await using rig = await rigWith(weights, [{ stallAfter: 40_000 }]);
  await using first = pull(rig);
  await arrived(rig, weights, 40_000);
  await using second = pull(rig);
  await second.says("Another process downloads model.safetensors: waiting for it");
  first.kill("SIGKILL");
  assertEquals(await second.code(), 0);
  const ranges = rig.hub.seen.filter(({ host }) => host === "cdn").map(({ range }) => range);
  assertEquals(ranges, [undefined, "bytes=40000-"]);
  assertEquals(await Deno.readFile(`${second.stdout.trim()}/model.safetensors`), weights);
});

Deno.test("Ctrl-C ends a pull with 130, and the same command continues", async () => {
  const weights = pattern(100_000);
  await using rig = await rigWith(weights, [{ stallAfter: 70_000 }]);
  await using first = pull(rig);
  await arrived(rig, weights, 70_000);
  first.kill("SIGINT");
  assertEquals(await first.code(), 130);
  assertStringIncludes(first.stderr, "Stopped: quire pull acme/tiny continues where it was");
  await using second = pull(rig);
  assertEquals(await second.code(), 0);
  const ranges = rig.hub.seen.filter(({ host }) => host === "cdn").map(({ range }) => range);
  assertEquals(ranges, [undefined, "bytes=70000-"]);
});
