// paged_attention_prefill_splits_workgroup: paged_attention_prefill_workgroup with the bits of a
// decode.
//
//   out[t, h] = softmax(soft_cap(SCALE * q[t, h] . K[P])) V[P]
//   P: the positions that t's reads, its own included (_reads.wgsl); with HAS_SINKS the softmax
//   has one more score, sinks[h], whose value is 0
//
// T tokens, H query heads, G KV heads, D head dim.
//   0 step   u32 packed metadata (step.ts)
//   1 qkv    f32 [T, QKV_HEADS, D], queries rotated
//   2 kv     KV_DTYPE [block, 2, G, BLOCK_SIZE, D], perhaps scales (kv_cache.ts)
//   3 out    f32 [T, H, D]
//   4 sinks  f32 [H], with HAS_SINKS
// Dispatch: (Q, G * QUERY_GROUPS, 1). A workgroup has HEADS pairs of a query tile's row and one of
// the query heads of one KV head.
// Method: each split of the context as paged_attention_decode_workgroup does it, addition by
// addition (_attend_workgroup.wgsl), then combined to those before it as paged_attention_combine
// does it (_combine_splits.wgsl). So a row has the same bits here and there. K and V are read once
// for HEADS pairs instead of 64.
// Reference: paged_attention_definition.ts; error below 1e-5 * max |V|, 0 to a decode.

const H: u32 = ${H}u;
const HEADS_PER_KV: u32 = ${H / G}u;
const HEADS: u32 = ${HEADS}u;
const QUERY_GROUPS: u32 = ${QUERY_GROUPS}u;
const QUADS: u32 = ${D / 4}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> kv: array<KvLoad>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

//# if HAS_SINKS
@group(0) @binding(4) var<storage, read> sinks: array<f32>;
//# end

/// Max and total of each pair's split.
var<workgroup> splits: array<vec2<f32>, HEADS>;

@compute @workgroup_size(${LANES})
fn paged_attention_prefill_splits_workgroup(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let kv_head = workgroup_id.y / QUERY_GROUPS;
  let tile = step[STEP_QUERY_TILES] + workgroup_id.x * QUERY_TILE_WORDS;
  let pairs = step[tile + QUERY_TILE_NUM_ROWS] * HEADS_PER_KV;
  let first_pair = workgroup_id.y % QUERY_GROUPS * HEADS;
  // The same for all lanes.
  if (first_pair >= pairs) { return; }
  let first_row = step[tile + QUERY_TILE_FIRST_ROW];
  // The end of the first row's context; each row further down sees one position more.
  let first_end = step[tile + QUERY_TILE_POSITION] + 1u;
  let table = step[step[STEP_SEQS + GROUP_AT] + step[tile + QUERY_TILE_SEQ] * SEQ_WORDS + SEQ_TABLE];
  // Pairs past the last repeat it; they are computed and not stored.
  for (var i = lane; i < HEADS * QUADS; i += LANES) {
    let pair = min(first_pair + i / QUADS, pairs - 1u);
    let q_row = (first_row + pair / HEADS_PER_KV) * ${QKV_HEADS}u + kv_head * HEADS_PER_KV +
      pair % HEADS_PER_KV;
    queries[i] = qkv[q_row * QUADS + i % QUADS] * f32(${SCALE});
  }
  workgroupBarrier();  // the queries are staged
  let limit = first_end + min(first_pair + lane / SCORE_LANES, pairs - 1u) / HEADS_PER_KV;
  let last_end = first_end + min(first_pair + HEADS - 1u, pairs - 1u) / HEADS_PER_KV;
//# for h in 0..HEADS
  let end${h} = first_end + min(first_pair + ${h}u, pairs - 1u) / HEADS_PER_KV;
//# if HAS_SINKS
  var max${h} = sinks[kv_head * HEADS_PER_KV + min(first_pair + ${h}u, pairs - 1u) % HEADS_PER_KV];
  var total${h} = 1.0;
//# else
  var max${h} = -3.4e38;
  var total${h} = 0.0;
//# end
//# for u in 0..LOAD_QUADS
  var out${h}_${u} = vec4(0.0);
//# end
//# end
//# if WINDOW > 0
  let first = first_read(limit - 1u);
  let first_live = first_read(first_end - 1u + first_pair / HEADS_PER_KV);
  for (var begin = skip_dead(0u, first_live, SPLIT_LEN); begin < last_end;
    begin = skip_dead(begin + SPLIT_LEN, first_live, SPLIT_LEN)) {
//# else
  for (var begin = 0u; begin < last_end; begin += SPLIT_LEN) {
//# end
    let end = min(begin + SPLIT_LEN, last_end);
${attend}
    if (leads) { splits[head] = vec2(max_score, total); }
    workgroupBarrier();  // every pair's max and total are there
//# for h in 0..HEADS
    if (begin < end${h}) {
      let split = splits[${h}u];
      let factors = rescale_factors(max${h}, split.x);
      max${h} = max(max${h}, split.x);
      total${h} = combine_totals(total${h}, split.y, factors);
//# for u in 0..LOAD_QUADS
      out${h}_${u} = combine_outputs(out${h}_${u}, sum${h}_${u}, factors);
//# end
    }
//# end
  }
  if (row_of(lane) > 0u) { return; }
  // Pair by pair in a loop: written out for each, a store takes llvmpipe long to compile.
  for (var h = 0u; h < HEADS && first_pair + h < pairs; h++) {
    var total = total0;
//# for h in 1..HEADS
    total = select(total, total${h}, h == ${h}u);
//# end
    let pair = first_pair + h;
    let target_row = (first_row + pair / HEADS_PER_KV) * H + kv_head * HEADS_PER_KV + pair % HEADS_PER_KV;
//# for u in 0..LOAD_QUADS
    var out_${u} = out0_${u};
//# for h in 1..HEADS
    out_${u} = select(out_${u}, out${h}_${u}, h == ${h}u);
//# end
    out[target_row * QUADS + column_of(lane) * ${LOAD_QUADS}u + ${u}u] = out_${u} / total;
//# end
  }
}
