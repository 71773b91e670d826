import { assertEquals } from "@std/assert";
import { planKv } from "../../src/plan/kv_plan.ts";
import { planJson } from "../../src/plan/plan_json.ts";
import { presetShape } from "../../src/server/model_shape.ts";

const REQUESTS = [{ promptLen: 3, outputLen: 4 }];
const PLAN = planKv(presetShape("llama-2-7b")!, {
  memoryBytes: 2 ** 30,
  blockSize: 16,
  maxNumBatchedTokens: 512,
  maxModelLen: 512,
  traffic: [{ name: "one", requests: REQUESTS }],
});

Deno.test("planJson() names every field in snake case, in lists and records too", () => {
  const names = [...JSON.stringify(planJson(PLAN)).matchAll(/"(\w+)":/g)].map(([, name]) => name!);
  assertEquals(names.filter((name) => /[A-Z]/.test(name)), []);
  for (const name of ["memory_bytes", "num_kv_heads", "bytes_per_token", "num_sequences"]) {
    assertEquals(names.includes(name), true, name);
  }
});

Deno.test("planJson() keeps every value", () => {
  // deno-lint-ignore no-explicit-any -- JSON, as a client reads it
  const json = JSON.parse(JSON.stringify(planJson(PLAN))) as any;
  assertEquals([json.model, json.max_model_len, json.block_size], ["llama-2-7b", 512, 16]);
  assertEquals(json.dtypes[0].lengths, [{ len: 512, bytes: 2 ** 28, num_sequences: 4 }]);
  assertEquals(json.dtypes[4].has_f16_edge_layers, true);
  assertEquals(json.traffic[0].allocators[0].allocator, "contiguous");
  assertEquals(json.traffic[0].allocators[0].mean_held_len, 512);
});
