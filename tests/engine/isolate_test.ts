import { assert, assertEquals, assertRejects } from "@std/assert";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import { StartupError } from "../../src/core/errors.ts";
import { EngineClient } from "../../src/engine/client.ts";
import type { EngineClientOptions } from "../../src/engine/client_options.ts";
import { EngineThread } from "../../src/engine/engine_thread.ts";
import { generateAlone } from "../support/paged_fake_runner.ts";
import { requestOf } from "../support/requests.ts";

const CONFIG: EngineConfig = {
  modelDir: "somewhere",
  device: "cpu",
  blockSize: 2,
  kvCacheDtype: "f32",
  enablePrefixCaching: true,
  maxNumSeqs: 4,
  maxNumBatchedTokens: 8,
  maxNumQueuedSeqs: 2,
};

/** A client whose isolates are real Workers around a fake model. */
function clientOf(options: EngineClientOptions = {}) {
  const url = new URL("../support/fake_engine_worker.ts", import.meta.url);
  return new EngineClient({ ...options, spawn: () => new EngineThread(url) });
}

Deno.test("serveIsolate() streams answers out of a real Worker", async () => {
  const phases: string[] = [];
  const client = clientOf({ onProgress: (phase) => phases.push(phase) });
  const info = await client.start(CONFIG);
  assertEquals([info.device, ...phases], ["a fake", "loading somewhere"]);
  const requests = ["a", "b", "c"].map((id, i) => requestOf(id, i + 1, { maxTokens: 9 }));
  const answers = await Promise.all(requests.map(async (request) => {
    const { events } = await client.submit(request);
    return (await Array.fromAsync(events)).flat().map(({ token }) => token);
  }));
  assertEquals(
    answers,
    requests.map(({ sequences: [sequence] }) =>
      generateAlone(sequence!.prompt, sequence!.params, info.maxModelLen).tokens
    ),
  );
  const { numFreeBlocks, numCachedBlocks } = client.stats;
  assertEquals(numFreeBlocks + numCachedBlocks, info.numBlocks);
  assert(numCachedBlocks > 0, "the session has no prefix cache");
  const reset = await client.command({ type: "reset_prefix_cache", preempt: false });
  assertEquals(reset, { numPreempted: 0 });
  assertEquals(await client.command({ type: "check_integrity" }), {
    numBlocks: info.numBlocks,
    numFreeBlocks: info.numBlocks,
    numCachedBlocks: 0,
  });
  await client.drain(1000);
  client.close();
});

Deno.test("serveIsolate() tells the user's mistake before the Worker ends", async () => {
  const client = clientOf();
  await assertRejects(
    () => client.start({ ...CONFIG, modelDir: "nowhere" }),
    StartupError,
    "There is no model at nowhere",
  );
  client.close();
});

Deno.test("EngineClient replaces a real Worker whose device is lost", async () => {
  const client = clientOf({ restart: { initialDelayMs: 1 } });
  await client.start(CONFIG);
  const fatal = requestOf("fatal", 1);
  fatal.sequences[0]!.prompt[0] = 99;
  const { events } = await client.submit(fatal);
  const [end] = (await Array.fromAsync(events)).flat();
  assertEquals([end?.error?.code, client.failure], ["engine_lost", "The fake device is gone"]);
  assertEquals(client.stats.numLosses, 3);
  while (client.state !== "ready") await new Promise((resolve) => setTimeout(resolve, 1));
  const { events: after } = await client.submit(requestOf("after", 1, { maxTokens: 2 }));
  assertEquals((await Array.fromAsync(after)).flat().at(-1)?.finishReason, "length");
  client.close();
});

/** Ends by itself, right after its last words. */
const PARTING = `
  import { parentPort } from "node:worker_threads";
  parentPort.on("message", () => {
    for (let id = 0; id < 5; id++) parentPort.postMessage({ type: "admitted", ids: [String(id)] });
    Deno.exit(7);
  });`;

Deno.test("EngineThread tells what an isolate has said before it tells of its end", async () => {
  const thread = new EngineThread(new URL(`data:text/javascript,${encodeURIComponent(PARTING)}`));
  const heard: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  thread.listen({
    onMessage: (message) =>
      heard.push(message.type === "admitted" ? message.ids[0]! : message.type),
    onError: ({ reason }) => heard.push(reason),
    onExit: () => (heard.push("end"), resolve()),
  });
  thread.postMessage({ type: "ping" });
  // Busy, as a process is that serves many: both lie there when it looks.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
  await promise;
  assertEquals(heard, ["0", "1", "2", "3", "4", "end"]);
});
