import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { Backoff } from "../../src/hub/backoff.ts";
import { HubClient } from "../../src/hub/hub_client.ts";
import { HubError } from "../../src/hub/hub_errors.ts";
import { parseModelReference } from "../../src/hub/model_reference.ts";
import { pullModel } from "../../src/hub/pull_model.ts";
import { type Fault, HubRig, pattern, sha256, tinyRepo } from "../support/fake_hub.ts";
import { runs } from "../support/runs.ts";

const TINY = parseModelReference("acme/tiny");

/** A rig with a model whose weights meet faults one after the other, and then none. */
async function faultyRig(weights: Uint8Array, faults: Fault[]): Promise<HubRig> {
  const rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo(weights));
  rig.hub.fault = ({ host }) => host === "cdn" ? faults.shift() : undefined;
  return rig;
}

async function refusal(work: Promise<unknown>, kind: HubError["kind"]): Promise<string> {
  const error = await assertRejects(() => work, HubError);
  assertEquals(error.kind, kind);
  return error.message;
}

/** What a failed pull has left of the weights, or undefined. */
function leftOf(rig: HubRig, weights: Uint8Array): Uint8Array | undefined {
  try {
    return Deno.readFileSync(
      `${rig.cacheDir}/models--acme--tiny/blobs/${sha256(weights)}.incomplete`,
    );
  } catch {
    return undefined;
  }
}

Deno.test("a download that is cut anywhere, any number of times, resumes and arrives whole", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3000 }),
      fc.array(fc.integer({ min: 0, max: 1000 }), { maxLength: 6 }),
      async (size, cuts) => {
        const weights = pattern(size);
        await using rig = await faultyRig(weights, cuts.map((cutAfter) => ({ cutAfter })));
        const { dir } = await pullModel(rig.client(), TINY);
        assertEquals(await Deno.readFile(`${dir}/model.safetensors`), weights);
        // Each request but the first asks for what is missing.
        const ranges = rig.hub.seen.filter(({ host }) => host === "cdn").map(({ range }) => range);
        let offset = 0;
        for (const [i, range] of ranges.entries()) {
          assertEquals(range, offset === 0 ? undefined : `bytes=${offset}-`);
          offset += cuts[i] ?? 0;
        }
      },
    ),
    { numRuns: runs(12), seed: 7 },
  );
});

Deno.test("a connection that is cut without a byte is given up, and a later run resumes", async () => {
  const weights = pattern(4000);
  const faults: Fault[] = [{ cutAfter: 1000 }];
  for (let i = 0; i < 5; i++) faults.push({ cutAfter: 0 });
  await using rig = await faultyRig(weights, faults);
  assertStringIncludes(
    await refusal(pullModel(rig.client(), TINY), "network"),
    `Cannot reach ${rig.hub.url}`,
  );
  assertEquals(leftOf(rig, weights), weights.subarray(0, 1000));
  rig.hub.seen.length = 0;
  const { numFetched } = await pullModel(rig.client(), TINY);
  assertEquals(numFetched, 3000);
  const [request] = rig.hub.seen.filter(({ host }) => host === "cdn");
  assertEquals(request?.range, "bytes=1000-");
});

Deno.test("a server that ignores ranges does not set a download back", async () => {
  const weights = pattern(4000);
  await using rig = await faultyRig(weights, [{ cutAfter: 1000 }, { ignoreRange: true }]);
  const { dir, numFetched } = await pullModel(rig.client(), TINY);
  assertEquals(numFetched, 4000 + 25);
  assertEquals(await Deno.readFile(`${dir}/model.safetensors`), weights);
});

Deno.test("a wrong hash deletes the file, names it, and leaves no snapshot of it", async () => {
  const weights = pattern(4000);
  await using rig = await faultyRig(weights, [{ garble: true }]);
  const message = await refusal(pullModel(rig.client(), TINY), "hash");
  assertStringIncludes(message, "acme/tiny: model.safetensors arrived with another sha256");
  assertStringIncludes(message, sha256(weights).slice(0, 12));
  assertEquals(leftOf(rig, weights), undefined);
  const { dir } = await pullModel(rig.client(), TINY);
  assertEquals(await Deno.readFile(`${dir}/model.safetensors`), weights);
});

Deno.test("a small file's content is checked as git does", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  rig.hub.fault = ({ method, path }) =>
    method === "GET" && path.endsWith("/config.json") ? { garble: true } : undefined;
  assertStringIncludes(
    await refusal(pullModel(rig.client(), TINY), "hash"),
    "acme/tiny: config.json arrived with another git-sha1",
  );
});

Deno.test("what an earlier try left wrong is fetched anew, once", async () => {
  const weights = pattern(4000);
  await using rig = await faultyRig(weights, []);
  const folder = `${rig.cacheDir}/models--acme--tiny/blobs`;
  for (const left of [pattern(1500, 9), pattern(4000, 9), pattern(9000, 9)]) {
    await Deno.mkdir(folder, { recursive: true });
    await Deno.writeFile(`${folder}/${sha256(weights)}.incomplete`, left);
    const { dir } = await pullModel(rig.client(), TINY);
    assertEquals(await Deno.readFile(`${dir}/model.safetensors`), weights);
    await Deno.remove(`${rig.cacheDir}/models--acme--tiny`, { recursive: true });
  }
});

Deno.test("a server that falls silent is left, and what it sent is kept", async () => {
  const weights = pattern(4000);
  await using rig = await faultyRig(weights, [{ stallAfter: 1500 }, { stallAfter: 500 }]);
  const { dir } = await pullModel(rig.client({ downloadTimeoutMs: 150 }), TINY);
  assertEquals(await Deno.readFile(`${dir}/model.safetensors`), weights);
  const ranges = rig.hub.seen.filter(({ host }) => host === "cdn").map(({ range }) => range);
  assertEquals(ranges, [undefined, "bytes=1500-", "bytes=2000-"]);
});

Deno.test("429 and 503 are waited out, for as long as the server asks", async () => {
  const weights = pattern(100);
  await using rig = await faultyRig(weights, [
    { status: 429, headers: { "retry-after": "7" } },
    { status: 503 },
    { status: 429, headers: { ratelimit: '"resolvers";r=0;t=55' } },
  ]);
  const pauses: number[] = [];
  const long: string[] = [];
  const pause = (ms: number) => {
    pauses.push(ms);
    return Promise.resolve();
  };
  const onLongPause = (ms: number, error: unknown) => long.push(`${ms} ${error}`);
  await pullModel(new HubClient(rig.settings(), { pause, random: () => 0, onLongPause }), TINY);
  assertEquals(pauses, [7000, 500, 55_000]);
  assertEquals(long, ["7000 HttpFailure: status 429", "55000 HttpFailure: status 429"]);
});

Deno.test("a server that asks for too long a wait, or never recovers, is given up", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  rig.hub.fault = () => ({ status: 429, headers: { "retry-after": "3600" } });
  assertEquals(
    await refusal(pullModel(rig.client(), TINY), "server"),
    `${rig.hub.url} answers with 429: it asks to wait 3600 s`,
  );
  assertEquals(rig.hub.seen.length, 1);
  rig.hub.fault = () => ({ status: 502 });
  assertEquals(
    await refusal(pullModel(rig.client(), TINY), "server"),
    `${rig.hub.url} answers with 502: try again later`,
  );
  assertEquals(rig.hub.seen.length, 1 + 5);
});

Deno.test("pauses double up to a bound, between half and the whole at random", async () => {
  const pausesOf = async (random: number) => {
    const pauses: number[] = [];
    const pause = (ms: number) => Promise.resolve(void pauses.push(ms));
    const backoff = new Backoff({ pause, random: () => random, maxNumFailures: 9 });
    for (let i = 0; i < 8; i++) await backoff.afterFailure(new Error());
    await assertRejects(() => backoff.afterFailure(new Error("the last")), Error, "the last");
    backoff.progress();
    await backoff.afterFailure(new Error());
    return pauses;
  };
  assertEquals(await pausesOf(0), [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000, 250]);
  assertEquals((await pausesOf(1)).slice(0, 4), [500, 1000, 2000, 4000]);
});

Deno.test("the token goes to the hub and to no other host", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  rig.hub.gate("acme/tiny", "private");
  await pullModel(rig.client({ token: rig.hub.token }), TINY);
  const tokensOf = (host: string) =>
    new Set(rig.hub.seen.filter((seen) => seen.host === host).map((seen) => seen.authorization));
  assertEquals(tokensOf("hub"), new Set([`Bearer ${rig.hub.token}`]));
  assertEquals(tokensOf("cdn"), new Set([undefined]));
});

Deno.test("gated models say where the licence is, and whether there is a token", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  rig.hub.gate("acme/tiny", "gated");
  const licence = `accept its licence at ${rig.hub.url}/acme/tiny, then set HF_TOKEN`;
  const without = await refusal(pullModel(rig.client(), TINY), "gated");
  assertStringIncludes(without, licence);
  assertStringIncludes(without, "none is set");
  const withOne = await refusal(pullModel(rig.client({ token: "hf_other" }), TINY), "gated");
  assertStringIncludes(withOne, licence);
  assertStringIncludes(withOne, "the one that is set is refused");
  assert(!withOne.includes("hf_other"));
});

Deno.test("a refused token and a forbidden model are told from a missing one", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  const message = "Invalid credentials in Authorization header";
  rig.hub.fault = () => ({ status: 401, headers: { "x-error-message": message } });
  assertEquals(
    await refusal(pullModel(rig.client({ token: "hf_other" }), TINY), "refused-token"),
    `${rig.hub.url} refuses the token: set HF_TOKEN to a valid one, or unset it for public models`,
  );
  rig.hub.fault = () => ({ status: 403, headers: { "x-error-message": "Disabled" } });
  assertEquals(
    await refusal(pullModel(rig.client(), TINY), "refused-token"),
    `${rig.hub.url} gives no access to acme/tiny (Disabled): set HF_TOKEN to a token that may read it`,
  );
});

Deno.test("an expired address of a large file is asked for anew, and its host named", async () => {
  await using rig = await faultyRig(pattern(100), [{ status: 403 }, { status: 403 }]);
  await pullModel(rig.client(), TINY);
  rig.hub.commit("acme/tiny", tinyRepo(pattern(200)));
  rig.hub.fault = ({ host }) => host === "cdn" ? { status: 403 } : undefined;
  const { host } = new URL(rig.hub.cdnUrl);
  assertEquals(
    await refusal(pullModel(rig.client(), TINY), "server"),
    `${host}, to which ${rig.hub.url} redirects, answers with 403: try again later`,
  );
});

Deno.test("a model that has moved is found where it is now", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/new", tinyRepo());
  rig.hub.fault = ({ path }) =>
    path.includes("acme/old")
      ? { status: 307, headers: { location: path.replace("acme/old", "acme/new") } }
      : undefined;
  const { dir } = await pullModel(rig.client(), parseModelReference("acme/old"));
  assertStringIncludes(dir, "models--acme--old");
  assertEquals(await Deno.readFile(`${dir}/model.safetensors`), pattern(5000));
});

Deno.test("a missing model names the nearest in the cache and on the hub", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  rig.hub.commit("acme/tiny-chat", tinyRepo(pattern(9)));
  const pull = (name: string) => pullModel(rig.client(), parseModelReference(name));
  assertEquals(
    await refusal(pull("acmee/tiny"), "no-repo"),
    `${rig.hub.url} has no model acmee/tiny that is public (private ones need HF_TOKEN): ` +
      "did you mean acme/tiny? The hub also has acme/tiny-chat",
  );
  await pull("acme/tiny-chat");
  assertStringIncludes(
    await refusal(pull("acme/tiny-cat"), "no-repo"),
    "did you mean acme/tiny-chat?",
  );
  assertEquals(
    await refusal(pull("zzz/qqqqqqqqqqqqqqqq"), "no-repo"),
    `${rig.hub.url} has no model zzz/qqqqqqqqqqqqqqqq that is public (private ones need HF_TOKEN)`,
  );
});

Deno.test("a missing revision or file names the nearest", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  rig.hub.commit("acme/tiny", { ...tinyRepo(), "x-Q8_0.gguf": pattern(9) }, "experiment");
  const pull = (name: string) => pullModel(rig.client(), parseModelReference(name));
  assertEquals(
    await refusal(pull("acme/tiny@experimnt"), "no-revision"),
    "acme/tiny has no revision experimnt: did you mean acme/tiny@experiment?",
  );
  assertEquals(
    await refusal(pull("acme/tiny@experiment:x-Q8.gguf"), "no-file"),
    "acme/tiny has no file x-Q8.gguf: did you mean x-Q8_0.gguf?",
  );
});

Deno.test("models without safetensors say what they have", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", { "config.json": "{}", "pytorch_model.bin": "pickled" });
  assertStringIncludes(
    await refusal(pullModel(rig.client(), TINY), "no-file"),
    "its weights are pickled, which can run code, and are not fetched",
  );
});

Deno.test("an address where nothing listens, and a name that nobody has, are said", async () => {
  await using rig = await HubRig.start();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const endpoint = `http://127.0.0.1:${listener.addr.port}`;
  listener.close();
  const refused = await refusal(pullModel(rig.client({ endpoint }), TINY), "network");
  assertStringIncludes(refused, `Cannot reach ${endpoint} (`);
  assertStringIncludes(refused.toLowerCase(), "connection refused");
  assertStringIncludes(refused, "HF_HUB_OFFLINE=1 to use what is in the cache");
  const unknown = rig.client({ endpoint: "http://no-such-host.invalid" });
  assertStringIncludes(
    await refusal(pullModel(unknown, TINY), "network"),
    "Cannot reach http://no-such-host.invalid (dns error",
  );
});

Deno.test("offline: the cache or nothing, and no request", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  const offline = rig.client({ isOffline: true });
  const message = await refusal(pullModel(offline, TINY), "offline");
  assertStringIncludes(message, `acme/tiny is not whole in ${rig.cacheDir}, and HF_HUB_OFFLINE`);
  assertEquals(rig.hub.seen, []);
  const { dir } = await pullModel(rig.client(), TINY);
  rig.hub.seen.length = 0;
  assertEquals((await pullModel(offline, TINY)).dir, dir);
  assertEquals(rig.hub.seen, []);
});

Deno.test("an answer that no hub gives is told from a missing model", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  rig.hub.alter = () => "a page for people";
  assertStringIncludes(
    await refusal(pullModel(rig.client(), TINY), "server"),
    "does not answer as a hub of Hugging Face does",
  );
});

Deno.test("names from the server that lead out of the cache are refused", async () => {
  const names = ["../../evil-Q4_0.gguf", "/etc/evil-Q4_0.gguf", "a\\..\\evil-Q4_0.gguf"];
  for (const path of names) {
    await using rig = await HubRig.start();
    rig.hub.commit("acme/tiny", { [path]: pattern(50) });
    const message = await refusal(
      pullModel(rig.client(), parseModelReference("acme/tiny:Q4_0")),
      "server",
    );
    assertStringIncludes(message, `The hub names a file ${JSON.stringify(path)}`);
    assertEquals(rig.hub.paths("cdn"), []);
  }
});

Deno.test("an index that names files elsewhere, and an etag that is a path, are refused", async () => {
  await using rig = await HubRig.start();
  const { "model.safetensors": _, ...rest } = tinyRepo();
  const index = JSON.stringify({ weight_map: { a: "../../../evil.safetensors" } });
  rig.hub.commit("acme/tiny", { ...rest, "model.safetensors.index.json": index });
  assertStringIncludes(
    await refusal(pullModel(rig.client(), TINY), "server"),
    'names the file "../../../evil.safetensors": must be a plain .safetensors name',
  );
  rig.hub.commit("acme/tiny", tinyRepo());
  const headers = { etag: '"../../evil"', "x-repo-commit": "a".repeat(40) };
  rig.hub.fault = ({ method }) => method === "HEAD" ? { status: 200, headers } : undefined;
  assertEquals(
    await refusal(pullModel(rig.client(), TINY), "server"),
    'The hub sent the etag "../../evil", which is no file name',
  );
  assertEquals([...Deno.readDirSync(rig.home)].map(({ name }) => name), ["hub"]);
});

Deno.test("a listing that never ends is ended", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  const entries = Array.from({ length: 60_000 }, (_, i) => ({
    type: "file",
    path: `file-${i}`,
    size: 1,
    oid: "a".repeat(40),
  }));
  rig.hub.alter = (path, json) => path.includes("/tree/") ? entries : json;
  rig.hub.pageSize = 1;
  assertStringIncludes(
    await refusal(pullModel(rig.client(), TINY), "server"),
    "more than 100000 files",
  );
  assertEquals(rig.hub.paths().filter((path) => path.includes("/tree/")).length, 2);
});

Deno.test("a listing of pages without end is ended, and so is one that leads elsewhere", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  const tree = (headers: Record<string, string>) => {
    rig.hub.fault = ({ path }) =>
      path.includes("/tree/") ? { status: 200, headers, body: "[]" } : undefined;
  };
  tree({ link: '</api/models/acme/tiny/tree/next>; rel="next"' });
  assertStringIncludes(
    await refusal(pullModel(rig.client(), TINY), "server"),
    "more than 200 pages of files",
  );
  tree({ link: `<${rig.hub.cdnUrl}/api/models>; rel="next"` });
  assertStringIncludes(
    await refusal(pullModel(rig.client(), TINY), "server"),
    "the next page lies on another host",
  );
  assertEquals(rig.hub.paths("cdn"), []);
});

Deno.test("names that would act on a terminal are not shown, and large small files not fetched", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", { "\x1b[2Jevil.gguf": pattern(9), "good-Q8_0.gguf": pattern(9) });
  const pull = (name: string) => pullModel(rig.client(), parseModelReference(name));
  assertEquals(
    await refusal(pull("acme/tiny:Q2_K"), "no-file"),
    "acme/tiny has no GGUF file of Q2_K: it has Q8_0",
  );
  rig.hub.commit("acme/tiny", tinyRepo());
  rig.hub.alter = (path, json) =>
    path.includes("/tree/")
      ? (json as { path: string }[]).map((entry) => ({ ...entry, size: 2 ** 40 }))
      : json;
  assertEquals(
    await refusal(pull("acme/tiny"), "server"),
    "acme/tiny: config.json has 1 TiB, over the limit of 128 MiB for files beside the weights",
  );
  assertEquals(rig.hub.seen.filter(({ method }) => method === "HEAD"), []);
});

Deno.test("what the file system refuses is a sentence with the folder", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  await Deno.mkdir(`${rig.cacheDir}/models--acme--tiny`, { recursive: true });
  await Deno.writeTextFile(`${rig.cacheDir}/models--acme--tiny/blobs`, "in the way");
  assertStringIncludes(
    await refusal(pullModel(rig.client(), TINY), "disk"),
    `Cannot use the cache ${rig.cacheDir} (`,
  );
});

Deno.test("an answer without bounds is ended, and a file with two sizes refused", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  rig.hub.alter = (_, json) => ({ ...json as object, padding: "x".repeat(33 * 2 ** 20) });
  assertStringIncludes(
    await refusal(pullModel(rig.client(), TINY), "server"),
    "has more than 33554432 bytes",
  );
  rig.hub.alter = (path, json) =>
    path.includes("/tree/")
      ? (json as { path: string; size: number }[]).map((entry) =>
        entry.path === "config.json" ? { ...entry, size: 1 } : entry
      )
      : json;
  assertStringIncludes(
    await refusal(pullModel(rig.client(), TINY), "server"),
    "The hub gives two sizes for config.json: 1, 23",
  );
});

Deno.test("a pull that is aborted keeps what it has, and begins nothing more", async () => {
  const weights = pattern(4000);
  await using rig = await faultyRig(weights, [{ stallAfter: 1500 }]);
  const abort = new AbortController();
  const client = rig.client({}, abort.signal);
  const pulling = pullModel(client, TINY);
  while ((leftOf(rig, weights)?.length ?? 0) < 1500) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  abort.abort(new Error("Ctrl-C"));
  await assertRejects(() => pulling, Error, "Ctrl-C");
  assertEquals(leftOf(rig, weights), weights.subarray(0, 1500));
  assertEquals((await pullModel(rig.client(), TINY)).numFetched, 2500);
});
