import { assert, assertEquals, assertThrows } from "@std/assert";
import * as fc from "fast-check";
import { type CacheSpec, groupLayers } from "../../src/core/cache_group.ts";
import {
  type GroupMemory,
  groupMemory,
  numSlabsFor,
  planKvBuffers,
  slabBytesOf,
} from "../../src/core/kv_buffers.ts";
import { runs } from "../support/runs.ts";

const HEADS = { numKvHeads: 1, headDim: 256 };

/** Layers by their caches, repeated. */
function layers(...kinds: readonly (readonly [count: number, cache: CacheSpec])[]) {
  return kinds.flatMap(([count, cache]) => Array.from({ length: count }, () => cache));
}

function memoryOf(caches: readonly CacheSpec[]): GroupMemory[] {
  const sizes = { numLayers: caches.length, blockSize: 16 };
  return groupMemory(groupLayers(caches), { dtype: "f16" }, sizes);
}

Deno.test("planKvBuffers() gives each layer of one group a buffer, where a slab is a block", () => {
  for (const kind of ["full", "sliding_window"] as const) {
    const cache = { kind, window: 100, numKvHeads: 2, headDim: 64 } as CacheSpec;
    const groups = groupMemory(groupLayers(layers([6, cache])), { dtype: "int4" }, {
      ...{ numLayers: 6, blockSize: 16 },
    });
    const { slabBytes, blocksPerSlab, layerLayouts } = planKvBuffers(groups);
    // In int4 the first and the last layer are f16: 16 positions of two vectors of 2 x 64.
    assertEquals(slabBytes, [8192, 2304, 2304, 2304, 2304, 8192]);
    assertEquals(blocksPerSlab, [1]);
    assertEquals(
      [...layerLayouts.entries()].map(([layer, layout]) => [layer, layout]),
      [
        ...slabBytes.entries(),
      ].map(([buffer, strideBytes]) => [buffer, { group: 0, buffer, strideBytes, offsetBytes: 0 }]),
    );
  }
});

Deno.test("slabBytesOf() gives the published sizes of Llama-2-7B and Llama-3-70B in f16", () => {
  const tokenBytes = (numLayers: number, numKvHeads: number) => {
    const cache: CacheSpec = { kind: "full", numKvHeads, headDim: 128 };
    return slabBytesOf(planKvBuffers(memoryOf(layers([numLayers, cache])))) / 16;
  };
  const contexts = [512, 1024, 2048, 4096, 8192];
  const sizes = contexts.map((numTokens) => numTokens * tokenBytes(32, 32) / 2 ** 20);
  assertEquals(sizes, [256, 512, 1024, 2048, 4096]);
  assertEquals([tokenBytes(80, 8), 8192 * tokenBytes(80, 8)], [327_680, 2.5 * 2 ** 30]);
});

Deno.test("planKvBuffers() lays Gemma 3 1B over two buffers: 11 and 2 layers, a slab of 2 or 11 blocks", () => {
  const window: CacheSpec = { kind: "sliding_window", window: 512, ...HEADS };
  const groups = memoryOf(layers([4, { kind: "full", ...HEADS }], [22, window]));
  const layout = planKvBuffers(groups);
  const block = 16 * 2 * 2 * 256;
  assertEquals(layout.slabBytes, [22 * block, 22 * block]);
  assertEquals(layout.blocksPerSlab, [11, 2]);
  const strides = [...layout.layerLayouts.values()].map(({ strideBytes }) => strideBytes / block);
  assertEquals(new Set(strides), new Set([2, 11]));
  assertEquals(numSlabsFor(layout, [12, 3]), 2 + 2);
});

Deno.test("planKvBuffers() lays Granite 4 micro over four buffers: 9 states and 1 layer each", () => {
  const state: CacheSpec = { kind: "state", stateBytes: 48 * 64 * 128 * 4 + 3 * 3328 * 4 };
  const full: CacheSpec = { kind: "full", numKvHeads: 8, headDim: 64 };
  const { slabBytes, blocksPerSlab, layerLayouts } = planKvBuffers(
    memoryOf(layers([36, state], [4, full])),
  );
  assertEquals(slabBytes.length, 4);
  const numLayers = (group: number, buffer: number) =>
    [...layerLayouts.values()].filter((layout) =>
      layout.group === group && layout.buffer === buffer
    ).length;
  assertEquals([0, 1, 2, 3].map((buffer) => [numLayers(0, buffer), numLayers(1, buffer)]), [
    ...Array.from({ length: 4 }, () => [1, 9]),
  ]);
  assertEquals(blocksPerSlab[1], 1);
  // A block takes its share of the state's stride.
  const { strideBytes } = [...layerLayouts.values()].find(({ group }) => group === 0)!;
  assert(strideBytes >= 32_768 && strideBytes < 1.02 * 32_768, `a stride of ${strideBytes} bytes`);
});

Deno.test("planKvBuffers() takes the number of buffers with the least padding where all cost more", () => {
  const group = (numLayers: number, first: number) => ({
    layers: Array.from({ length: numLayers }, (_, i) => first + i),
    blockBytes: new Array<number>(numLayers).fill(1600),
  });
  // Over one buffer there is none.
  assertEquals(planKvBuffers([group(7, 0), group(5, 7)]).slabBytes.length, 1);
  assertEquals(planKvBuffers([group(13, 0), group(13, 13)]).slabBytes.length, 13);
  assertThrows(() => planKvBuffers([]), RangeError, "no groups");
});

Deno.test("planKvBuffers() never lets two layers of a group overlap, nor a block leave its slab", () => {
  const group = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(fc.array(group, { minLength: 1, maxLength: 4 }), (sizes) => {
      let next = 0;
      const groups = sizes.map((bytes) => ({
        layers: bytes.map(() => next++),
        blockBytes: bytes.map((each) => 16 * each),
      }));
      const layout = planKvBuffers(groups);
      groups.forEach(({ layers, blockBytes }, g) => {
        const ends = new Map<number, number>();
        layers.forEach((layer, i) => {
          const { group, buffer, strideBytes, offsetBytes } = layout.layerLayouts.get(layer)!;
          assertEquals([group, strideBytes % 16, offsetBytes % 16], [g, 0, 0]);
          assertEquals(offsetBytes, ends.get(buffer) ?? 0);
          ends.set(buffer, offsetBytes + blockBytes[i]!);
          assert(ends.get(buffer)! <= strideBytes, `layer ${layer}`);
          assertEquals(strideBytes * layout.blocksPerSlab[g]!, layout.slabBytes[buffer]);
        });
      });
      if (groups.length > 1) assertEquals(new Set(layout.slabBytes).size, 1);
      const used = groups.map(({ blockBytes }, g) =>
        layout.blocksPerSlab[g]! * blockBytes.reduce((sum, bytes) => sum + bytes, 0)
      );
      assert(Math.max(...used) <= slabBytesOf(layout));
    }),
    { numRuns: runs(300) },
  );
});
