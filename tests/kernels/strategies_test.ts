import { assert, assertEquals } from "@std/assert";
import type { Product } from "../../kernels/matmul/matmul.ts";
import { normProductCalls, productCalls } from "../../kernels/matmul/product.ts";
import { MATMUL_STRATEGIES } from "../../kernels/matmul/strategies.ts";
import { NO_WORK, type StepDims } from "../../kernels/step.ts";
import { matrixTilesOf } from "../../kernels/tuning/matrix_tuning.ts";
import { serves } from "../../kernels/tuning/tiles.ts";
import { GPU_TUNING, SOFTWARE_TUNING, type Tuning } from "../../kernels/tuning/tuning.ts";
import type { Binding, KernelCall } from "../../src/device/kernel.ts";
import { NVIDIA } from "../support/matrix_units.ts";

const buffer = { label: "any", bytes: 4 };
const NAMES = ["step", "x", "norm", "normed", "codes", "scales", "w", "y"] as const;
const BUFFERS = Object.fromEntries(NAMES.map((name) => [name, buffer])) as Record<
  typeof NAMES[number],
  typeof buffer
>;

const PLAIN: Readonly<Record<string, Tuning>> = {
  "a software adapter": SOFTWARE_TUNING,
  "a GPU": GPU_TUNING,
  "a GPU with subgroup matrices": { ...GPU_TUNING, matrixTiles: matrixTilesOf(NVIDIA) },
};
const TUNINGS = Object.entries(PLAIN).flatMap(([name, tuning]) =>
  [false, true].map((usesW8a8) => [`${name}${usesW8a8 ? ", w8a8" : ""}`, { ...tuning, usesW8a8 }])
) as [string, Tuning][];
const F16 = { label: "f16", rows: "tokens", n: 64, k: 256, dtype: "f16", eps: 1e-5 } as const;
const INT8 = { ...F16, label: "int8", dtype: "int8g32" } as const;
/** Rows of no whole spans. */
const ODD = { ...INT8, label: "odd", k: 36 } as const;
const PRODUCTS: readonly (Product & { eps: number })[] = [F16, INT8, ODD];
const ROWS = [1, 2, 4, 5, 8, 9, 16, 17, 64, 65, 3000];

/** A binding through which a product's outputs are written. */
const isOutput = ({ name, access }: Binding) => name === "y" && access === "read_write";

/** The kernels that write outputs in a step of `rows` rows. */
function writers(calls: readonly KernelCall<StepDims>[], rows: number): string[] {
  return calls
    .filter(({ workgroups }) => workgroups({ ...NO_WORK, numTokens: rows }).every((n) => n > 0))
    .filter(({ bindings }) => bindings.some(isOutput))
    .map(({ kernelName }) => kernelName);
}

for (const [name, tuning] of TUNINGS) {
  Deno.test(`of the strategies that take a product, one has its rows and runs: ${name}`, () => {
    for (const product of PRODUCTS) {
      const taking = MATMUL_STRATEGIES.filter(({ takes }) => takes(product, tuning));
      for (const rows of ROWS) {
        const [strategy, ...others] = taking.filter((strategy) =>
          strategy.rows(tuning, product.label).some((range) => serves(range, rows))
        );
        assert(strategy && others.length === 0, `${product.label}, ${rows} rows`);
        for (const calls of [productCalls, normProductCalls]) {
          const [kernel, ...more] = writers(calls(product, BUFFERS, tuning), rows);
          assertEquals(more, [], `${product.label}, ${rows} rows`);
          assert(strategy.kernels.includes(kernel!), `${rows} rows: ${kernel}, ${strategy.name}`);
        }
      }
    }
  });
}

Deno.test("w8a8 takes quantized weights of whole spans alone, and gemm only where there are tiles", () => {
  const nameAt = (product: Product, tuning: Tuning, rows: number) =>
    MATMUL_STRATEGIES.filter(({ takes }) => takes(product, tuning))
      .find((strategy) =>
        strategy.rows(tuning, product.label).some((range) => serves(range, rows))
      )!.name;
  const w8a8 = { ...GPU_TUNING, usesW8a8: true };
  assertEquals([F16, INT8, ODD].map((p) => nameAt(p, w8a8, 1)), ["matmul", "w8a8", "matmul"]);
  assertEquals([1, 8, 9, 65].map((rows) => nameAt(F16, GPU_TUNING, rows)), [
    ...["matmul", "matmul", "gemm", "gemm"],
  ]);
  assertEquals([9, 3000].map((rows) => nameAt(F16, SOFTWARE_TUNING, rows)), ["matmul", "matmul"]);
  const matrices = PLAIN["a GPU with subgroup matrices"]!;
  assertEquals([16, 17].map((rows) => nameAt(F16, matrices, rows)), [
    ...["gemm", "gemm_subgroup_matrix"],
  ]);
});

Deno.test("every kernel that writes a product's outputs belongs to a strategy", () => {
  const listed = MATMUL_STRATEGIES.flatMap(({ kernels }) => kernels);
  const used = TUNINGS.flatMap(([, tuning]) =>
    PRODUCTS.flatMap((product) => [
      ...productCalls(product, BUFFERS, tuning),
      ...normProductCalls(product, BUFFERS, tuning),
    ])
  ).filter(({ bindings }) => bindings.some(isOutput)).map(({ kernelName }) => kernelName);
  assertEquals([...new Set(used)].sort(), [...listed].sort());
});
