// paged_attention_prefill: chunks of several new tokens against their paged, causal context.
//
//   out[t, h] = softmax(soft_cap(SCALE * q[t, h] . K[P])) V[P]
//   P: the positions that t's reads, its own included (_reads.wgsl); with HAS_SINKS the softmax
//   has one more score, sinks[h], whose value is 0
//
// T tokens, H query heads, G KV heads, D head dim.
//   0 step   u32 packed metadata (step.ts)
//   1 qkv    f32 [T, QKV_HEADS, D], queries rotated
//   2 kv     KV_DTYPE [block, 2, G, BLOCK_SIZE, D], perhaps scales (kv_cache.ts), with the chunk's
//   3 out    f32 [T, H, D]
//   4 sinks  f32 [H], with HAS_SINKS
// Dispatch: (Q, G, 1). A query tile is at most QUERIES rows of one sequence, so a ragged batch is a
// list of these; a lane is one row of one query head. All lanes of a workgroup walk the same
// blocks, so K and V are read once per tile from memory (FlashAttention-2, Dao 2023, 2307.08691,
// without staging). A lane attends to each split of its context by itself and combines them in
// order, as paged_attention_decode and paged_attention_combine do it with the same text
// (_attend.wgsl, _combine_splits.wgsl): a row has the same bits here and there.
// Reference: paged_attention_definition.ts; error below 1e-5 * max |V|.

const H: u32 = ${H}u;
const HEADS_PER_KV: u32 = ${H / G}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> kv: array<KvLoad>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

//# if HAS_SINKS
@group(0) @binding(4) var<storage, read> sinks: array<f32>;
//# end

@compute @workgroup_size(${QUERIES * H / G})
fn paged_attention_prefill(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
//# if SUBGROUPS
  @builtin(subgroup_invocation_id) subgroup_lane: u32,
//# end
) {
  let kv_head = workgroup_id.y;
  let head = kv_head * HEADS_PER_KV + lane % HEADS_PER_KV;
  let tile = step[STEP_QUERY_TILES] + workgroup_id.x * QUERY_TILE_WORDS;
  let num_rows = step[tile + QUERY_TILE_NUM_ROWS];
//# if SUBGROUPS
  // Lanes past the last row compute it again and do not store it.
  let query = min(lane / HEADS_PER_KV, num_rows - 1u);
//# else
  let query = lane / HEADS_PER_KV;
  if (query >= num_rows) { return; }
//# end
  let row = step[tile + QUERY_TILE_FIRST_ROW] + query;
  let row_end = step[tile + QUERY_TILE_POSITION] + query + 1u;
//# if SUBGROUPS
  let tile_end = step[tile + QUERY_TILE_POSITION] + num_rows;
//# else
  let tile_end = row_end;
//# end
  let table = step[step[STEP_SEQS + GROUP_AT] + step[tile + QUERY_TILE_SEQ] * SEQ_WORDS + SEQ_TABLE];
  let q_row = (row * ${QKV_HEADS}u + head) * ${D / 4}u;
//# for d in 0..D/4
  let q0_${d} = qkv[q_row + ${d}u] * f32(${SCALE});
//# end
//# if HAS_SINKS
  var combined_max = sinks[head];
  var combined_total = 1.0;
//# else
  var combined_max = -3.4e38;
  var combined_total = 0.0;
//# end
//# for d in 0..D/4
  var combined${d} = vec4(0.0);
//# end
  // A split that begins past a lane's row has weight 0 there, and combining it changes nothing; nor
  // does one that ends before what the row reads.
//# if WINDOW > 0
  let first = first_read(row_end - 1u);
//# if SUBGROUPS
  let first_live = first_read(step[tile + QUERY_TILE_POSITION]);
//# else
  let first_live = first;
//# end
  for (var begin = skip_dead(0u, first_live, SPLIT_LEN); begin < tile_end;
    begin = skip_dead(begin + SPLIT_LEN, first_live, SPLIT_LEN)) {
//# else
  for (var begin = 0u; begin < tile_end; begin += SPLIT_LEN) {
//# end
    let end = min(begin + SPLIT_LEN, row_end);
    let limit = min(begin + SPLIT_LEN, tile_end);
${attend}
    let factors = rescale_factors(combined_max, max0);
    combined_max = max(combined_max, max0);
    combined_total = combine_totals(combined_total, total0, factors);
//# for d in 0..D/4
    combined${d} = combine_outputs(combined${d}, o0_${d}, factors);
//# end
  }
  if (lane / HEADS_PER_KV >= num_rows) { return; }
//# for d in 0..D/4
  out[(row * H + head) * ${D / 4}u + ${d}u] = combined${d} / combined_total;
//# end
}
