import { assert, assertEquals } from "@std/assert";
import { adjustLogits } from "../../kernels/sampling/adjust_logits.ts";
import { copyBlocks } from "../../kernels/kv/copy_blocks.ts";
import { embedTokens } from "../../kernels/weights/embed_tokens.ts";
import { findKvDamage } from "../../kernels/kv/find_kv_damage.ts";
import { gemm } from "../../kernels/matmul/gemm.ts";
import { halveRows } from "../../kernels/matmul/halve_rows.ts";
import { matrixGemm } from "../../kernels/matmul/matrix_gemm.ts";
import { matmul } from "../../kernels/matmul/matmul.ts";
import { normMatmul } from "../../kernels/matmul/norm_matmul.ts";
import { normQuantize } from "../../kernels/matmul/norm_quantize.ts";
import { packedGemm } from "../../kernels/matmul/packed_gemm.ts";
import { packedMatmul } from "../../kernels/matmul/packed_matmul.ts";
import {
  pagedAttentionDecode,
  pagedAttentionPrefill,
} from "../../kernels/attention/paged_attention.ts";
import { pagedAttentionReduce } from "../../kernels/attention/paged_attention_reduce.ts";
import {
  pagedAttentionDecodeShared,
  pagedAttentionPrefillShared,
  pagedAttentionPrefillSplitsShared,
  pagedAttentionReduceShared,
} from "../../kernels/attention/paged_attention_shared.ts";
import { panelWeights } from "../../kernels/weights/panel_weights.ts";
import { quantizeRows } from "../../kernels/matmul/quantize_rows.ts";
import { rmsNorm } from "../../kernels/norm/rms_norm.ts";
import { ropeStoreKv, ropeStoreQuantizedKv } from "../../kernels/kv/rope_store_kv.ts";
import { sampleParts } from "../../kernels/sampling/sample_parts.ts";
import { sampleTokens } from "../../kernels/sampling/sample_tokens.ts";
import { topLogprobs } from "../../kernels/sampling/top_logprobs.ts";

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

function* wgslFiles(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, import.meta.url))) {
    if (isDirectory) yield* wgslFiles(`${folder}${name}/`);
    else if (name.endsWith(".wgsl")) yield name.replace(".wgsl", "");
  }
}

Deno.test("every WGSL file is one kernel's, or a fragment with a leading underscore", () => {
  const stems = [...wgslFiles("../../kernels/")].filter((stem) => !stem.startsWith("_"));
  assertEquals(stems.sort(), KERNELS.map(({ name }) => name).sort());
  const ofSteps = KERNELS.filter(({ name }) => name !== panelWeights.name);
  assert(ofSteps.every(({ source }) => source.includes("const STEP_NUM_TOKENS")));
});
