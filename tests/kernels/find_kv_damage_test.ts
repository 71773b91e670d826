import { assertEquals } from "@std/assert";
import { findKvDamageCall, NO_DAMAGE } from "../../kernels/kv/find_kv_damage.ts";
import { kvBlockWords, type KvVector, kvWords, spanOf } from "../../kernels/kv/kv_cache.ts";
import { ropeStoreKvCall } from "../../kernels/kv/rope_store_kv.ts";
import { TOO_LARGE_F16 } from "../../kernels/kv/store_kv.ts";
import { KV_CACHE_DTYPES } from "../../src/core/engine_config.ts";
import { isQuantizedKv } from "../../src/core/kv_layout.ts";
import { READS_ALL } from "../../src/core/read_span.ts";
import { StepPacker } from "../../src/runner/step_packer.ts";
import { gpuTest, noise, runBoth } from "../support/agreement.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";

const SHAPE = { G: 2, D: 16, BLOCK_SIZE: 8 };
const TABLE = [5, 2, 9];
const CONTEXT = 19;
const NUM_BLOCKS = 11;

function packed(start: number, count: number) {
  const packer = new StepPacker({
    ...{ maxBlocksPerSeq: 3, blockSize: 8, queryTile: 8, splitLen: 8 },
    ...{ maxTokens: 32, maxSeqs: 1, maxSplits: 8 },
  });
  const tokens = new Uint32Array(count);
  const chunk = { sequenceId: 0, tokens, start, blockTables: [TABLE] };
  return packer.pack({ step: 0, chunks: [chunk], numTokens: count });
}

/** Slot of a position by the block table. */
function slotOf(position: number): number {
  return TABLE[Math.floor(position / 8)]! * 8 + position % 8;
}

for (const KV_DTYPE of KV_CACHE_DTYPES) {
  const shape = { ...SHAPE, KV_DTYPE };

  gpuTest(`find_kv_damage agrees with the definition: ${KV_DTYPE}`, async (gpu) => {
    const words = packed(CONTEXT - 1, 1).words.slice();
    const isF16 = KV_DTYPE === "f16";
    const spoil = (kv: HostBuffer, at: KvVector, isNaN: boolean) => {
      const { first, scale } = kvWords(at, shape);
      if (isF16) kv.u16[2 * first + 5] = isNaN ? 0xfe01 : TOO_LARGE_F16;
      else kv.u32[isQuantizedKv(KV_DTYPE) ? scale : first + 7] = isNaN ? 0xff800001 : 0xff800000;
    };
    const tooLarge = isF16 ? 0 : 1;
    const find = async (spoiled: readonly (readonly [number, boolean])[], LAYER: number) => {
      const kv = new HostBuffer("kv", NUM_BLOCKS * kvBlockWords(shape) * 4);
      // Of the codes any bits are fine, of numbers those that are finite.
      kv.u32.set(Uint32Array.from(noise(kv.u32.length, 3), (x) => Math.abs(x) * 2 ** 31 | 0));
      if (!isQuantizedKv(KV_DTYPE)) kv.u32.forEach((word, i) => kv.u32[i] = word & 0x33ff33ff);
      for (let slot = 0; isQuantizedKv(KV_DTYPE) && slot < NUM_BLOCKS * 8; slot++) {
        for (const which of [0, 1] as const) {
          for (const head of [0, 1]) kv.f32[kvWords({ slot, which, head }, shape).scale] = 3e38;
        }
      }
      // Beyond the context, and in blocks of others, nothing counts.
      spoil(kv, { slot: slotOf(CONTEXT), which: 0, head: 0 }, true);
      spoil(kv, { slot: 8, which: 1, head: 1 }, false);
      spoiled.forEach(([position, isNaN], i) =>
        spoil(kv, { slot: slotOf(position), which: i % 2 as 0 | 1, head: 1 - i % 2 }, isNaN)
      );
      const contents = { step: words, kv: kv.u32, found: new Uint32Array(5).fill(NO_DAMAGE) };
      const calls = (b: object) => [findKvDamageCall({ ...shape, LAYER }, b as never)];
      const { actual, expected } = await runBoth(gpu, contents, calls, undefined, "found");
      assertEquals(actual.u32, expected.u32);
      assertEquals([...actual.u32].filter((word, i) => i !== LAYER && word !== NO_DAMAGE), []);
      return actual.u32[LAYER];
    };
    assertEquals(await find([], 0), NO_DAMAGE);
    assertEquals(await find([[18, false]], 4), 36 + tooLarge);
    assertEquals(await find([[18, false], [0, true]], 1), 1);
    assertEquals(await find([[9, true], [9, false], [17, false]], 2), 18 + tooLarge);
    assertEquals(await find([[8, true], [9, false]], 3), 17);
  });

  gpuTest(`what is stored of NaN and infinity is found: ${KV_DTYPE}`, async (gpu) => {
    for (const [value, isNaN] of [[NaN, true], [-Infinity, false], [Infinity, false]] as const) {
      for (const head of [1, 2, 3, 4]) {
        const { words, dims } = packed(0, CONTEXT);
        const qkv = noise(CONTEXT * 5 * SHAPE.D, 4);
        qkv[(7 * 5 + head) * SHAPE.D + 3] = value;
        const contents = {
          ...{ step: words.slice(), qkv, rope: new Float32Array(CONTEXT * SHAPE.D).fill(1) },
          kv: new Uint32Array(NUM_BLOCKS * kvBlockWords(shape)),
          found: new Uint32Array(1).fill(NO_DAMAGE),
        };
        const { actual, expected } = await runBoth(
          gpu,
          contents,
          (b) => [
            ropeStoreKvCall({ ...shape, H: 1 }, b as never),
            findKvDamageCall({ ...shape, LAYER: 0 }, b as never),
          ],
          dims,
          "found",
        );
        const label = `${value} in head ${head}`;
        const found = isNaN || KV_DTYPE !== "f16" ? 15 : 14;
        assertEquals([actual.u32[0], expected.u32[0]], [found, found], label);
      }
    }
  });
}

gpuTest(
  "find_kv_damage looks at what the sequence's rows read, in their group's blocks",
  async (gpu) => {
    const place = { GROUP: 1, STRIDE: 400, LAYER_OFFSET: 128 };
    const shape = { ...SHAPE, KV_DTYPE: "f16", ...place, WINDOW: 6, NUM_SINKS: 2 } as const;
    const spans = [READS_ALL, spanOf(shape)];
    const packer = new StepPacker({
      ...{ maxBlocksPerSeq: 3, blockSize: 8, queryTile: 8, splitLen: 8 },
      ...{ maxTokens: 32, maxSeqs: 1, maxSplits: 8, spans },
    });
    // A chunk of positions 16 to 18, whose first query reads from 11 on, and the sinks 0 and 1.
    const chunk = { sequenceId: 0, tokens: new Uint32Array(3), start: 16 };
    const { words } = packer.pack({
      ...{ step: 0, numTokens: 3 },
      chunks: [{ ...chunk, blockTables: [[1, 3, 4], TABLE] }],
    });
    const find = async (position: number) => {
      const kv = new HostBuffer("kv", NUM_BLOCKS * shape.STRIDE * 4);
      const { first } = kvWords({ slot: slotOf(position), which: 1, head: 0 }, shape);
      kv.u16[2 * first + 3] = 0x7e00;
      // In other layers' rows of the same blocks nothing counts.
      for (let block = 0; block < NUM_BLOCKS; block++) {
        kv.u32.fill(0xffffffff, block * 400, block * 400 + 128);
        kv.u32.fill(0xffffffff, block * 400 + 384, (block + 1) * 400);
      }
      const contents = { step: words, kv: kv.u32, found: new Uint32Array(3).fill(NO_DAMAGE) };
      const calls = (b: object) => [findKvDamageCall({ ...shape, LAYER: 2 }, b as never)];
      const { actual, expected } = await runBoth(gpu, contents, calls, undefined, "found");
      assertEquals(actual.u32, expected.u32);
      return actual.u32[2];
    };
    assertEquals(await find(1), 3);
    assertEquals(await find(2), NO_DAMAGE);
    assertEquals(await find(10), NO_DAMAGE);
    assertEquals(await find(11), 23);
    assertEquals(await find(18), 37);
  },
);

gpuTest("only f16 has no room for what is beyond 65,504", async (gpu) => {
  for (const KV_DTYPE of KV_CACHE_DTYPES) {
    const shape = { ...SHAPE, KV_DTYPE };
    const { words, dims } = packed(0, CONTEXT);
    const qkv = noise(CONTEXT * 5 * SHAPE.D, 4);
    qkv[(7 * 5 + 4) * SHAPE.D + 3] = 1e30;
    const contents = {
      ...{ step: words.slice(), qkv, rope: new Float32Array(CONTEXT * SHAPE.D).fill(1) },
      kv: new Uint32Array(NUM_BLOCKS * kvBlockWords(shape)),
      found: new Uint32Array(1).fill(NO_DAMAGE),
    };
    const calls = (b: object) => [
      ropeStoreKvCall({ ...shape, H: 1 }, b as never),
      findKvDamageCall({ ...shape, LAYER: 0 }, b as never),
    ];
    const { actual, expected } = await runBoth(gpu, contents, calls, dims, "found");
    const found = KV_DTYPE === "f16" ? 14 : NO_DAMAGE;
    assertEquals([actual.u32[0], expected.u32[0]], [found, found], KV_DTYPE);
  }
});
