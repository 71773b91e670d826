import { assert, assertEquals } from "@std/assert";
import { SeededRandom } from "../../src/base/seeded_random.ts";
import type { BlockLoad, BlockSwap } from "../../src/core/batch.ts";
import type { CacheSpec } from "../../src/core/cache_group.ts";
import { KV_CACHE_DTYPES, type KvCacheDtype } from "../../src/core/engine_config.ts";
import { StartupError } from "../../src/core/errors.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { kvFormat } from "../../src/core/kv_layout.ts";
import { groupMemory } from "../../src/core/kv_buffers.ts";
import { kvMemory } from "../../src/runner/kv_memory.ts";
import { KvStorage } from "../../src/runner/kv_storage.ts";
import { swapLayout } from "../../src/runner/swap_layout.ts";
import { SwapMemory } from "../../src/runner/swap_memory.ts";
import { gpuTest } from "../support/agreement.ts";

const HEADS = { numKvHeads: 2, headDim: 32 };
const FULL: CacheSpec = { kind: "full", ...HEADS };
const WINDOW: CacheSpec = { kind: "sliding_window", window: 40, ...HEADS };
const STATE: CacheSpec = { kind: "state", stateBytes: 3 * 4096 };
const MODELS: Readonly<Record<string, readonly CacheSpec[]>> = {
  "full attention": [FULL, FULL, FULL],
  "windows and states": [WINDOW, FULL, WINDOW, STATE, WINDOW, FULL, STATE],
};
const NUM_SLABS = 6;

/** Host memory over a pool full of random bytes, with what it warns of. */
async function rigOf(device: Device, caches: readonly CacheSpec[], kvCacheDtype: KvCacheDtype) {
  const settings = { blockSize: 16, kvCacheDtype, swapMemoryBytes: 2 ** 24 };
  const { slabBytes } = kvMemory({ caches }, settings).layout;
  const storage = await KvStorage.create(device, { numSlabs: NUM_SLABS, slabBytes });
  const random = new SeededRandom(5);
  for (const buffer of storage.buffers) {
    const words = Uint32Array.from({ length: buffer.bytes / 4 }, () => random.uniform() * 2 ** 32);
    device.write(buffer, 0, words);
  }
  const warnings: string[] = [];
  const warn = (words: string) => warnings.push(words);
  const layout = swapLayout({ caches }, settings)!;
  // So that a few blocks take several reads.
  const readBytes = 2 * Math.max(...layout.space.blockBytes);
  const swap = await SwapMemory.create({ device, storage, layout, warn, readBytes });
  return { device, storage, caches, settings, layout, swap, warnings };
}

type Rig = Awaited<ReturnType<typeof rigOf>>;

/** The bytes of a block on the device, layer by layer, without the padding between blocks. */
async function blockOf(
  { device, storage, caches, settings }: Rig,
  { group, block }: Pick<BlockSwap, "group" | "block">,
): Promise<number[]> {
  const { groups, layout } = kvMemory({ caches }, settings);
  const sizes = { numLayers: caches.length, blockSize: settings.blockSize };
  const { layers, blockBytes } = groupMemory(groups, kvFormat(settings), sizes)[group]!;
  const rows = layers.map((layer, i) => {
    const { buffer, strideBytes, offsetBytes } = layout.layerLayouts.get(layer)!;
    return device.read(storage.buffers[buffer]!, block * strideBytes + offsetBytes, blockBytes[i]!);
  });
  return (await Promise.all(rows)).flatMap((bytes) => [...bytes]);
}

/** Every other block of each group out, to where the others are back in. */
function copiesOf({ layout: { blocksPerSlab } }: Rig) {
  const swapOuts: BlockSwap[] = [];
  const swapIns: BlockLoad[] = [];
  blocksPerSlab.forEach((count, group) => {
    // A slab is of one group: the first has slabs 0 and 1, and so on.
    for (let i = 0; i < 2 * count; i += 2) {
      const block = 2 * group * count + i;
      if (block + 1 >= NUM_SLABS * count) return;
      swapOuts.push({ group, block, hostBlock: block });
      swapIns.push({ group, block: block + 1, hostBlock: block, sequenceId: group });
    }
  });
  return { swapOuts, swapIns };
}

const STEP = { step: 0, chunks: [], numTokens: 0 };

async function checkRoundTrip(device: Device): Promise<void> {
  for (const [name, caches] of Object.entries(MODELS)) {
    for (const dtype of KV_CACHE_DTYPES) {
      const rig = await rigOf(device, caches, dtype);
      const { swapOuts, swapIns } = copiesOf(rig);
      const before = await Promise.all(swapOuts.map((swap) => blockOf(rig, swap)));
      const targets = await Promise.all(swapIns.map((swap) => blockOf(rig, swap)));
      assert(before.every((bytes, i) => `${bytes}` !== `${targets[i]}`), "all blocks differ");
      await rig.swap.copy({ ...STEP, swapOuts });
      // The pool may lie in other buffers by then.
      await rig.storage.resize(NUM_SLABS + 1);
      assertEquals(await rig.swap.copy({ ...STEP, swapIns }), new Set(), name);
      const after = await Promise.all(swapIns.map((swap) => blockOf(rig, swap)));
      assertEquals(after, before, `${name} in ${dtype}`);
      // What went out is as it was.
      assertEquals(await Promise.all(swapOuts.map((swap) => blockOf(rig, swap))), before);
      const bytes = before.reduce((sum, { length }) => sum + length, 0);
      const { storedBytes, loadedBytes } = rig.swap.times;
      assertEquals([storedBytes, loadedBytes], [bytes, bytes]);
    }
  }
}

gpuTest(
  "SwapMemory brings blocks of every group and dtype back bit by bit on WebGPU",
  checkRoundTrip,
);

Deno.test("SwapMemory brings blocks of every group and dtype back bit by bit on the CPU", async () => {
  await checkRoundTrip(new ReferenceDevice());
});

Deno.test("SwapMemory.copy() copies out before in, and nothing of a sequence of which a bit has changed", async () => {
  const rig = await rigOf(new ReferenceDevice(), MODELS["full attention"]!, "f16");
  const swapOuts = [0, 1].map((block) => ({ group: 0, block, hostBlock: block + 3 }));
  const swapIns = [
    { group: 0, block: 4, hostBlock: 3, sequenceId: 8 },
    { group: 0, block: 5, hostBlock: 4, sequenceId: 9 },
    { group: 0, block: 0, hostBlock: 3, sequenceId: 9 },
  ];
  const blocksOf = () =>
    Promise.all([0, 1, 4, 5].map((block) => blockOf(rig, { group: 0, block })));
  const [first, second, , fifth] = await blocksOf();
  await rig.swap.copy({ ...STEP, swapOuts });
  rig.swap.bytesAt({ group: 0, hostBlock: 4 })[7]! ^= 1;
  assertEquals(await rig.swap.copy({ ...STEP, swapIns }), new Set([9]));
  assertEquals(await blocksOf(), [first, second, first, fifth]);
  assertEquals(rig.warnings, [
    "host memory has not kept KV block 4 of group 0: sequence 9 is computed again",
  ]);
  // Host blocks that are written in the same step are read after that.
  assertEquals(await rig.swap.copy({ ...STEP, swapOuts, swapIns }), new Set());
  assertEquals(await blocksOf(), [first, second, first, second]);
});

Deno.test("swapLayout() cuts host memory into slabs, and refuses less than one and more than is free", () => {
  const settings = { blockSize: 16, kvCacheDtype: "f16" } as const;
  const model = { caches: MODELS["full attention"]! };
  assertEquals(swapLayout(model, settings), undefined);
  // 16 positions * 2 heads * 32 elements * 2 bytes, of keys and values, in 3 layers.
  const blockBytes = 16 * 2 * 32 * 2 * 2 * 3;
  const { space } = swapLayout(model, { ...settings, swapMemoryBytes: 10 * blockBytes + 1 })!;
  assertEquals(space, { numSlabs: 10, blockBytes: [blockBytes] });
  const refusal = (swapMemoryBytes: number, free?: number) => {
    try {
      swapLayout(model, { ...settings, swapMemoryBytes }, free);
    } catch (error) {
      assert(error instanceof StartupError);
      return error.message;
    }
  };
  assertEquals(
    refusal(100),
    `--swap-memory-bytes is 100, but one block of KV takes ${blockBytes}; raise it, or leave it out`,
  );
  assertEquals(
    refusal(2 ** 30, 2 ** 29),
    "--swap-memory-bytes is 1 GiB, but this machine has 512 MiB of free memory; lower it",
  );
});
