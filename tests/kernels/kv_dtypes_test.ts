import { assertEquals } from "@std/assert";
import { KV_DTYPES, kvLoadWgsl, kvStoreWgsl } from "../../kernels/kv/dtypes.ts";
import { KV_CACHE_DTYPES } from "../../src/core/engine_config.ts";
import { isQuantizedKv, vectorBytes } from "../../src/core/kv_layout.ts";
import { expandWgsl } from "../../src/device/wgsl_template.ts";

const ROOT = new URL("../../", import.meta.url);
/** The table's two halves: what planning reads without kernels, and what kernels add. */
const TABLES = ["kernels/kv/dtypes.ts", "src/core/kv_layout.ts"];

function* sourceFiles(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, ROOT))) {
    if (isDirectory) yield* sourceFiles(`${folder}${name}/`);
    else if (name.endsWith(".ts")) yield `${folder}${name}`;
  }
}

Deno.test("a KV dtype has a row in one table, and in no other", () => {
  const files = ["src/", "kernels/", "models/"].flatMap((folder) => [...sourceFiles(folder)]);
  const withRows = files.filter((path) =>
    /\bfp8\b *: /.test(Deno.readTextFileSync(new URL(path, ROOT)))
  );
  assertEquals(withRows.sort(), TABLES);
});

Deno.test("kernels get the loads and stores of their KV dtype alone", () => {
  const constants = { KV_SCALED: true, LOAD_QUADS: 1, CODE_MAX: 7 };
  for (const dtype of KV_CACHE_DTYPES) {
    const expand = (wgsl: string) => expandWgsl(wgsl, { ...constants, KV_DTYPE: dtype });
    const { loadWgsl, storeWgsl } = KV_DTYPES[dtype];
    assertEquals(expand(kvLoadWgsl).startsWith(expand(loadWgsl).trimEnd()), true, dtype);
    assertEquals(expand(kvStoreWgsl).trimEnd(), expand(storeWgsl).trimEnd(), dtype);
  }
});

Deno.test("the rows agree with each other: codes are scaled, and a head is whole words", () => {
  for (const dtype of KV_CACHE_DTYPES) {
    const traits = KV_DTYPES[dtype];
    assertEquals(traits.code !== undefined, isQuantizedKv(dtype), dtype);
    assertEquals(vectorBytes(traits.headDimMultiple, dtype) % 4, 0, dtype);
  }
});
