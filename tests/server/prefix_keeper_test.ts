import { assertEquals, assertNotEquals, assertStringIncludes } from "@std/assert";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { KvEvent } from "../../src/core/kv_event.ts";
import { PrefixKeeper } from "../../src/server/prefix_keeper.ts";
import { FakeEngine, INFO } from "../http/fake_engine.ts";
import { DEMO_DIR } from "../support/demo_engine.ts";
import { logLines } from "../support/log_lines.ts";

const CONFIG: EngineConfig = {
  modelDir: DEMO_DIR,
  device: "cpu",
  blockSize: 16,
  kvCacheDtype: "f16",
  enablePrefixCaching: true,
  maxNumSeqs: 4,
  maxNumBatchedTokens: 64,
  maxNumQueuedSeqs: 8,
};

async function open(path: string | undefined, config: Partial<EngineConfig> = {}) {
  const engine = new FakeEngine();
  const { log, lines } = logLines();
  const options = { path, engine, config: { ...CONFIG, ...config }, log };
  return { memory: await PrefixKeeper.open(options), engine, lines };
}

async function inFolder(test: (path: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await test(`${dir}/prefixes`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const token = (n: number) => n % INFO.vocabSize;

/** A path of `numBlocks` blocks that nothing else begins with, and one prompt that found it. */
function* hotPath(
  name: number,
  numBlocks: number,
  scope = "",
  blockSize = 16,
): Generator<KvEvent> {
  const keys = Array.from({ length: numBlocks }, (_, i) => `${name}-${i}`);
  const tokens = Array.from({ length: blockSize * numBlocks }, (_, i) => token(name + i));
  yield { type: "stored", keys, parentKey: `root ${scope}`, tokens, scope, group: 0 };
  yield { type: "used", key: keys.at(-1)! };
}

Deno.test("PrefixKeeper computes after a restart what was hot before, within half of the pool", () =>
  inFolder(async (path) => {
    const before = await open(path);
    // The pool has 64 blocks, and a sequence at most 256 tokens: 15 whole blocks and an answer.
    before.engine.kvEvents.append([1, 2, 3].flatMap((name) => [...hotPath(name, 12)]));
    before.engine.kvEvents.append([...hotPath(4, 20, "scope"), { type: "used", key: "4-19" }]);
    await before.memory.close();

    const { memory, engine, lines } = await open(path);
    assertEquals(memory.cacheSecret, before.memory.cacheSecret);
    assertEquals(lines[0]!.blocks, 56);
    await memory.reheat(INFO);
    const asked = engine.requests.map((
      { sequences, cacheScope },
    ) => [sequences[0]!.prompt.length / 16, cacheScope]);
    assertEquals(asked[0], [15, "scope"]);
    assertEquals(asked.reduce((sum, [numBlocks]) => sum + Number(numBlocks), 0), 32);
    assertEquals(memory.progress.numTokensDone, 32 * 16);
    await memory.stopReheat();
    await memory.close();
  }));

Deno.test("PrefixKeeper starts cold for another block size, dtype or model", () =>
  inFolder(async (path) => {
    const before = await open(path);
    before.engine.kvEvents.append(hotPath(1, 2));
    await before.memory.close();
    const changes: Partial<EngineConfig>[] = [
      { blockSize: 32 },
      { kvCacheDtype: "f32" },
      { kvCacheDtype: "int4" },
      { kvCacheDtype: "int4", kvCacheF16EdgeLayers: false },
    ];
    for (const change of changes) {
      const { memory, engine, lines } = await open(path, change);
      assertStringIncludes(String(lines[0]!.message), "starts cold");
      assertEquals(lines[1]!.blocks, 0);
      const { blockSize = 16 } = change as Partial<EngineConfig>;
      engine.kvEvents.append(hotPath(1, 2, "", blockSize));
      await memory.close();
      assertStringIncludes(String(lines[2]!.message), "set aside");
    }
  }));

Deno.test("PrefixKeeper does without a store where there is none, with a secret of its own", async () => {
  for (
    const [path, config, numLines] of [
      [undefined, {}, 0],
      ["/dev/null/prefixes", {}, 1],
      ["/dev/null/prefixes", { enablePrefixCaching: false }, 0],
    ] as const
  ) {
    const { memory, engine, lines } = await open(path, config);
    assertEquals(lines.length, numLines);
    assertEquals(memory.cacheSecret.length, 32);
    assertNotEquals(memory.cacheSecret, (await open(undefined)).memory.cacheSecret);
    memory.giveWayTo("a request");
    await memory.reheat(INFO);
    assertEquals([engine.requests, memory.progress.numPrefixesLeft], [[], 0]);
    await memory.stopReheat();
    await memory.close();
  }
});
