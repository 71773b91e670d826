import { assert, assertEquals } from "@std/assert";
import { adjustLogits } from "../../kernels/adjust_logits.ts";
import { copyBlocks } from "../../kernels/copy_blocks.ts";
import { embedTokens } from "../../kernels/embed_tokens.ts";
import { gemm } from "../../kernels/gemm.ts";
import { matmul } from "../../kernels/matmul.ts";
import { normMatmul } from "../../kernels/norm_matmul.ts";
import { normQuantize } from "../../kernels/norm_quantize.ts";
import { packedGemm } from "../../kernels/packed_gemm.ts";
import { packedMatmul } from "../../kernels/packed_matmul.ts";
import {
  pagedAttentionDecode,
  pagedAttentionPrefill,
  pagedAttentionReduce,
} from "../../kernels/paged_attention.ts";
import {
  pagedAttentionDecodeShared,
  pagedAttentionPrefillShared,
  pagedAttentionReduceShared,
} from "../../kernels/paged_attention_shared.ts";
import { quantizeRows } from "../../kernels/quantize_rows.ts";
import { rmsNorm } from "../../kernels/rms_norm.ts";
import { ropeStoreKv, ropeStoreQuantizedKv } from "../../kernels/rope_store_kv.ts";
import { sampleParts } from "../../kernels/sample_parts.ts";
import { sampleTokens } from "../../kernels/sample_tokens.ts";
import { topLogprobs } from "../../kernels/top_logprobs.ts";

const KERNELS = [
  adjustLogits,
  copyBlocks,
  embedTokens,
  gemm,
  matmul,
  normMatmul,
  normQuantize,
  packedGemm,
  packedMatmul,
  pagedAttentionDecode,
  pagedAttentionPrefill,
  pagedAttentionReduce,
  pagedAttentionDecodeShared,
  pagedAttentionPrefillShared,
  pagedAttentionReduceShared,
  quantizeRows,
  rmsNorm,
  ropeStoreKv,
  ropeStoreQuantizedKv,
  sampleParts,
  sampleTokens,
  topLogprobs,
];

for (const { name, source, bindings } of KERNELS) {
  Deno.test(`${name}: WGSL and contract agree on entry point and bindings`, () => {
    const declared = new Map<number, { name: string; access: string }>();
    const declaration = /@binding\((\d+)\) var<storage, (read|read_write)> (\w+)/g;
    for (const [, index, access, variable] of source.matchAll(declaration)) {
      declared.set(Number(index), { name: variable!, access: access! });
    }
    assertEquals([...declared.keys()], bindings.map((_, i) => i));
    assertEquals([...declared.values()], bindings.map(({ name, access }) => ({ name, access })));
    assertEquals([...source.matchAll(/@compute[^]*?fn (\w+)/g)].map(([, entry]) => entry), [name]);
  });
}

Deno.test("every WGSL file is one kernel's or shared by several", async () => {
  const files = [];
  for await (const { name } of Deno.readDir(new URL("../../kernels/", import.meta.url))) {
    if (name.endsWith(".wgsl")) files.push(name.replace(".wgsl", ""));
  }
  const shared = [
    ...["attend", "elements", "kv_elements", "matmul_tile", "packed_weights", "part"],
    ...["quantize_span", "reduce", "segments"],
  ];
  assertEquals(files.sort(), [...KERNELS.map(({ name }) => name), ...shared].sort());
  assert(KERNELS.every(({ source }) => source.includes("const STEP_NUM_TOKENS")));
});
