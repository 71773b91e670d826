// deno-lint-ignore-file no-console -- a benchmark prints
/**
 * How many requests fit into the same KV memory at once, by how it is divided between layers that
 * do not cache the same. Allocates for real, with every prompt prefilled chunk by chunk; no model
 * runs.
 *
 *     deno run bench/hybrid_pool.ts
 */
import { fillHomogeneous, fillSeparate, fillUnified, HYBRID_MODELS } from "./hybrid_models.ts";

const SIZES = { poolBytes: 48 * 2 ** 30, tokensPerBlock: 16 };

const rows = HYBRID_MODELS.flatMap((model) =>
  model.workloads.map((workload, i) => {
    const homogeneous = fillHomogeneous(model, workload, SIZES);
    const separate = fillSeparate(model, workload, SIZES);
    const unified = fillUnified(model, workload, SIZES);
    return {
      model: model.name,
      request: workload.name,
      homogeneous: homogeneous.numRequests,
      separate: separate.numRequests,
      unified: unified.numRequests,
      wastedShare: Number((1 - unified.requestBytes / homogeneous.requestBytes).toFixed(4)),
      // Derived for the first workload only; blocks of 16 round it where a request is short.
      expectedShare: i === 0 ? Number(model.wastedShare.toFixed(4)) : undefined,
    };
  })
);

const columns: [string, (row: typeof rows[number]) => string][] = [
  ["model", (row) => row.model],
  ["each request", (row) => row.request],
  ["homogeneous", (row) => String(row.homogeneous)],
  ["separate pools", (row) => String(row.separate)],
  ["unified slabs", (row) => String(row.unified)],
  ["wasted by homogeneous", (row) => row.wastedShare.toFixed(4)],
  ["formula", (row) => row.expectedShare?.toFixed(4) ?? ""],
];

const widths = columns.map(([title, cell]) =>
  Math.max(title.length, ...rows.map((row) => cell(row).length))
);
const line = (cells: readonly string[]) =>
  cells.map((text, i) => text.padEnd(widths[i]!)).join("  ");
console.log(`Requests at once in ${SIZES.poolBytes / 2 ** 30} GiB, blocks of 16 positions\n`);
console.log(line(columns.map(([title]) => title)));
for (const row of rows) console.log(line(columns.map(([, cell]) => cell(row))));
console.log(JSON.stringify({ bench: "hybrid_pool", ...SIZES, rows }));
