// paged_attention_decode_workgroup: paged_attention_decode for GPUs, one workgroup per split and KV
// head.
//
//   for each split [b, e) of positions [0, L): max = max_p s_p, total = sum_p exp(s_p - max),
//   partial = sum_p exp(s_p - max) * V[p], s_p = soft_cap(SCALE * q . K[p])
//
// S decodes, H query heads, G KV heads, D head dim, L context length, M splits of a context.
//   0 step      u32 packed metadata (step.ts)
//   1 qkv       f32 [T, QKV_HEADS, D], queries rotated
//   2 kv        KV_DTYPE [block, 2, G, BLOCK_SIZE, D], perhaps scales (kv_cache.ts)
//   3 partials  f32 of each decode [H, M, D], its own M
//   4 stats     f32 of each decode [H, M, 2], max and total
// Dispatch: (splits of the step, G * HEAD_GROUPS, 1), none of them empty. HEADS query heads of one
// KV head are computed together, so that each K and V is read once for all of them (GQA, Ainslie
// 2023, 2305.13245).
// Method: flash-decoding's splits over PagedAttention's blocks (Kwon 2023, 2309.06180), of fixed
// length, so that a sequence's result does not depend on its batch. Scores: SLICES lanes per
// position, next to each other in memory. Softmax: SCORE_LANES lanes per head. Output: lanes along
// D, COLUMN_GROUPS positions at a time. Lanes add up through shared memory or by subgroup shuffles
// (_attend_workgroup.wgsl).
// Traffic per KV head: 512 bytes per position in f16 with D 128, and 4 D + 8 per split and query
// head, which are read again to be combined: an eighth of the former with four heads and splits of
// 64, less with longer ones.
// Reference: paged_attention_definition.ts; error below 1e-5 * max |V| once combined.

const H: u32 = ${H}u;
const HEADS: u32 = ${HEADS}u;
const HEAD_GROUPS: u32 = ${H / G / HEADS}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> kv: array<KvLoad>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> stats: array<vec2<f32>>;

@compute @workgroup_size(${LANES})
fn paged_attention_decode_workgroup(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let kv_head = workgroup_id.y / HEAD_GROUPS;
  let first_head = workgroup_id.y * HEADS;
  // The same for all lanes.
  let seq = step[STEP_SEQS + GROUP_AT] + step[step[STEP_SPLITS + GROUP_AT] + workgroup_id.x] * SEQ_WORDS;
  let first_in_step = step[seq + SEQ_FIRST_SPLIT];
  let context_len = step[seq + SEQ_CONTEXT_LEN];
  let split = workgroup_id.x - first_in_step;
  let begin = split_begin(context_len, split);
  let end = min(begin + SPLIT_LEN, context_len);
  let table = step[seq + SEQ_TABLE];
//# if WINDOW > 0
  let first = first_read(context_len - 1u);
  let first_live = first;
//# end
  let q_row = (step[seq + SEQ_FIRST_ROW] * ${QKV_HEADS}u + first_head) * ${D / 4}u;
  for (var i = lane; i < ${HEADS * D / 4}u; i += LANES) {
    queries[i] = qkv[q_row + i] * f32(${SCALE});
  }
  workgroupBarrier();  // the queries are staged
  let limit = end;
${attend}
  let splits = num_splits(context_len);
  let first_partial = first_in_step * H + first_head * splits + split;
  if (leads) {
    stats[first_partial + head * splits] = vec2(max_score, total);
  }
  if (row == 0u) {
//# for h in 0..HEADS
    let at${h} = (first_partial + ${h}u * splits) * ${D / 4}u + column * ${LOAD_QUADS}u;
//# for u in 0..LOAD_QUADS
    partials[at${h} + ${u}u] = sum${h}_${u};
//# end
//# end
  }
}
