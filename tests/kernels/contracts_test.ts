import { assert, assertEquals } from "@std/assert";
import { adjustLogits } from "../../kernels/adjust_logits.ts";
import { copyBlocks } from "../../kernels/copy_blocks.ts";
import { embedTokens } from "../../kernels/embed_tokens.ts";
import { findKvDamage } from "../../kernels/find_kv_damage.ts";
import { gemm } from "../../kernels/gemm.ts";
import { halveRows } from "../../kernels/halve_rows.ts";
import { matrixGemm } from "../../kernels/matrix_gemm.ts";
import { matmul } from "../../kernels/matmul.ts";
import { normMatmul } from "../../kernels/norm_matmul.ts";
import { normQuantize } from "../../kernels/norm_quantize.ts";
import { packedGemm } from "../../kernels/packed_gemm.ts";
import { packedMatmul } from "../../kernels/packed_matmul.ts";
import { pagedAttentionDecode, pagedAttentionPrefill } from "../../kernels/paged_attention.ts";
import { pagedAttentionReduce } from "../../kernels/paged_attention_reduce.ts";
import {
  pagedAttentionDecodeShared,
  pagedAttentionPrefillShared,
  pagedAttentionPrefillSplitsShared,
  pagedAttentionReduceShared,
} from "../../kernels/paged_attention_shared.ts";
import { panelWeights } from "../../kernels/panel_weights.ts";
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
  findKvDamage,
  gemm,
  halveRows,
  matmul,
  matrixGemm,
  normMatmul,
  normQuantize,
  packedGemm,
  packedMatmul,
  pagedAttentionDecode,
  pagedAttentionPrefill,
  pagedAttentionReduce,
  pagedAttentionDecodeShared,
  pagedAttentionPrefillShared,
  pagedAttentionPrefillSplitsShared,
  pagedAttentionReduceShared,
  panelWeights,
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
    const image = /@binding\((\d+)\) var (\w+): texture_storage_2d<rgba32uint, (read|write)>/g;
    for (const [, index, variable, access] of source.matchAll(image)) {
      const form = { name: variable!, access: access === "read" ? "read" : "read_write" };
      assertEquals(declared.get(Number(index)) ?? form, form);
      declared.set(Number(index), form);
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
  const attention = ["attend", "attend_shared", "attend_shared_memory", "join_splits"];
  const others = ["elements", "epilogue", "kv_elements", "matmul_tile", "packed_weights", "part"];
  const more = ["logit_range", "quantize_span", "reduce", "segments"];
  const shared = [...attention, ...others, ...more];
  assertEquals(files.sort(), [...KERNELS.map(({ name }) => name), ...shared].sort());
  const ofSteps = KERNELS.filter(({ name }) => name !== panelWeights.name);
  assert(ofSteps.every(({ source }) => source.includes("const STEP_NUM_TOKENS")));
});
