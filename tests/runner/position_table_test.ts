import { assertEquals } from "@std/assert";
import { ropeTable } from "../../models/rope_table.ts";
import { positionTable, shortContext } from "../../src/runner/position_table.ts";
import { startRunner } from "../../src/runner/start_runner.ts";
import { familyGoldens, withFamily } from "../support/family_golden.ts";

const SCALING = {
  ...{ type: "longrope", shortFactors: [1, 2.5], longFactors: [2, 5] } as const,
  attentionFactor: 1.25,
  originalMaxPositionEmbeddings: 4,
};
const SCALED = { rotaryDim: 4, theta: 100, scaling: SCALING };

Deno.test("shortContext() is there where sequences may become longer than it", () => {
  assertEquals(shortContext({ shortContextLen: 4 }, { maxModelLen: 5 }), { shortContextLen: 4 });
  assertEquals(shortContext({ shortContextLen: 4 }, { maxModelLen: 4 }), {});
  assertEquals(shortContext({}, { maxModelLen: 4 }), {});
});

Deno.test("positionTable() has rows for short contexts, and then those of all positions for long ones", () => {
  const table = positionTable(SCALED, { maxModelLen: 6, shortContextLen: 4 });
  assertEquals(table.length, 4 * (4 + 6));
  assertEquals(table.subarray(0, 16), ropeTable({ ...SCALED, maxPositions: 4 }));
  assertEquals(table.subarray(16), ropeTable({ ...SCALED, maxPositions: 6, isLong: true }));
  const short = positionTable(SCALED, { maxModelLen: 3 });
  assertEquals(short, ropeTable({ ...SCALED, maxPositions: 3 }));
});

Deno.test("positionTable() of a table that no length changes has the same rows for both", () => {
  const plain = { rotaryDim: 4, theta: 100 };
  const table = positionTable(plain, { maxModelLen: 6, shortContextLen: 4 });
  assertEquals(table.subarray(0, 16), table.subarray(16, 32));
});

Deno.test("startRunner() tells the short context of a model where sequences may become longer", async () => {
  const golden = familyGoldens().find(({ name }) => name.startsWith("phi3 growing"))!;
  await withFamily(golden, async (modelDir) => {
    const start = async (maxModelLen: number) => {
      const { info, runner } = await startRunner({
        ...{ modelDir, device: "cpu", blockSize: 16, kvCacheDtype: "f32", maxModelLen },
        ...{ enablePrefixCaching: true, numBlocksOverride: 32, maxNumSeqs: 2 },
        ...{ maxNumBatchedTokens: 16, maxNumQueuedSeqs: 8 },
      }, () => {});
      runner.destroy();
      return info.shortContextLen;
    };
    assertEquals([await start(400), await start(208)], [208, undefined]);
  });
});
