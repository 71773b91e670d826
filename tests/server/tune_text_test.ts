import { assertEquals } from "@std/assert";
import { tuneJson, tuneText } from "../../src/server/tune_text.ts";

const MEASURED = {
  device: "a GPU",
  operations: [
    {
      operation: "down 64x128 f16, 1 row",
      variant: "matmul 1x2, 4 lanes",
      micros: { default: 30, "matmul 1x2, 4 lanes": 20, "matmul 1x8, 4 lanes": 40 },
    },
    { operation: "sampling, 1 row of 512", variant: "default", micros: { default: 7.25 } },
  ],
  blockSizes: { context: 512, micros: { "8": 20.5, "16": 18, "32": 12 }, best: 32 },
};

Deno.test("tuneText() shows every variant, the chosen ones and their gains", () => {
  const text = tuneText(MEASURED, { modelName: "demo", blockSize: 16, storePath: undefined });
  assertEquals(
    text,
    `Device   a GPU
Model    demo
Kept in  no file

Microseconds in one layer; * is used, the factor is the gain over the default.

down 64x128 f16, 1 row
    default                                  30.0    1.00x
  * matmul 1x2, 4 lanes                      20.0    1.50x
    matmul 1x8, 4 lanes                      40.0    0.75x

sampling, 1 row of 512
  * default                                   7.3    1.00x

decode attention at 512 tokens, by block size
    8                                        20.5
    16                                       18.0
  * 32                                       12.0
Blocks of 32 tokens would be faster than those of 16: --block-size 32`,
  );
});

Deno.test("tuneText() says where the times are kept, and that no other block size pays", () => {
  const lines = tuneText(MEASURED, { modelName: "demo", blockSize: 32, storePath: "/a/file" })
    .split("\n");
  assertEquals(lines[2], "Kept in  /a/file");
  assertEquals(lines.at(-1), "Blocks of 32 tokens are as good as any here.");
});

Deno.test("tuneJson() adds the gain of each choice", () => {
  const json = tuneJson(MEASURED) as {
    readonly operations: readonly { readonly gain: number }[];
    readonly block_sizes: unknown;
  };
  assertEquals(json.operations.map(({ gain }) => gain), [1.5, 1]);
  assertEquals(json.block_sizes, MEASURED.blockSizes);
  assertEquals(Object.keys(json), ["device", "operations", "block_sizes"]);
});
