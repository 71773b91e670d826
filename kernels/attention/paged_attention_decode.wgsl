// paged_attention_decode: sequences with one new token, their context split among lanes.
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
// Dispatch: (ceil(splits of the step / SPLITS), G, 1). A lane is one split of HEADS query heads
// that share a KV head (GQA, Ainslie 2023, 2305.13245); its other heads are neighbours. Ragged
// contexts leave no lane idle: neighbouring splits may be of different sequences.
// Method: PagedAttention (Kwon 2023, 2309.06180) with flash-decoding's splits, of fixed length, so
// that a sequence's result does not depend on its batch. paged_attention_combine combines the
// partials.
// Reference: paged_attention_definition.ts; error below 1e-5 * max |V| over both kernels.

const H: u32 = ${H}u;
const LANES_PER_SPLIT: u32 = ${H / G / HEADS}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> kv: array<KvLoad>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> stats: array<vec2<f32>>;

@compute @workgroup_size(${SPLITS * H / G / HEADS})
fn paged_attention_decode(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let kv_head = workgroup_id.y;
  let head = kv_head * ${H / G}u + lane % LANES_PER_SPLIT * ${HEADS}u;
  let at = workgroup_id.x * ${SPLITS}u + lane / LANES_PER_SPLIT;
  if (at >= step[STEP_NUM_SPLITS + GROUP_AT]) { return; }
  let seq = step[STEP_SEQS + GROUP_AT] + step[step[STEP_SPLITS + GROUP_AT] + at] * SEQ_WORDS;
  let first_in_step = step[seq + SEQ_FIRST_SPLIT];
  let context_len = step[seq + SEQ_CONTEXT_LEN];
  let split = at - first_in_step;
  let begin = split_begin(context_len, split);
  let end = min(begin + SPLIT_LEN, context_len);
  let limit = end;
  let table = step[seq + SEQ_TABLE];
//# if WINDOW > 0
  let first = first_read(context_len - 1u);
  let first_live = first;
//# end
  let q_row = (step[seq + SEQ_FIRST_ROW] * ${QKV_HEADS}u + head) * ${D / 4}u;
//# for h in 0..HEADS
//# for d in 0..D/4
  let q${h}_${d} = qkv[q_row + ${h * D / 4 + d}u] * f32(${SCALE});
//# end
//# end
${attend}
  let splits = num_splits(context_len);
//# for h in 0..HEADS
  let at${h} = first_in_step * H + (head + ${h}u) * splits + split;
//# for d in 0..D/4
  partials[at${h} * ${D / 4}u + ${d}u] = o${h}_${d};
//# end
  stats[at${h}] = vec2(max${h}, total${h});
//# end
}
