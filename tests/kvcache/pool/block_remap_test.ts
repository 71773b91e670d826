import { assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../../src/base/invariant.ts";
import { BlockRemap } from "../../../src/kvcache/pool/block_remap.ts";

const SHRUNK = new BlockRemap(4, [{ from: 4, to: 1 }, { from: 6, to: 3 }]);

Deno.test("BlockRemap keeps ids below the end, and gives those that move theirs", () => {
  assertEquals(SHRUNK.idsOf([0, 4, 2, 6]), [0, 1, 2, 3]);
  assertEquals([3, 4, 5, 6, 7].map((id) => SHRUNK.keeps(id)), [true, true, false, true, false]);
  assertThrows(() => SHRUNK.idOf(5), InvariantError, "block 5");
  const table = [6, 0];
  assertEquals([SHRUNK.idsOf(table), table], [[3, 0], [6, 0]]);
});

Deno.test("BlockRemap.column() takes each block's entries along, and fills those of new blocks", () => {
  const column = Uint32Array.of(10, 11, 12, 13, 14, 15, 16);
  assertEquals(SHRUNK.column(column), Uint32Array.of(10, 14, 12, 16));
  const pairs = Int8Array.of(0, 1, 2, 3, 4, 5);
  const moved = new BlockRemap(2, [{ from: 2, to: 0 }]);
  assertEquals(moved.column(pairs, { width: 2 }), Int8Array.of(4, 5, 2, 3));
  const grown = new BlockRemap(3, []);
  assertEquals(
    grown.column(Float64Array.of(1, 2), { fill: Infinity }),
    Float64Array.of(1, 2, Infinity),
  );
});
