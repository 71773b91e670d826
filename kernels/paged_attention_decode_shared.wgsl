// paged_attention_decode_shared: paged_attention_decode for GPUs, one workgroup per split and KV head.
//
//   for each split [b, e) of positions [0, L): peak = max_p s_p, total = sum_p exp(s_p - peak),
//   part = sum_p exp(s_p - peak) * V[p], s_p = q . K[p] / sqrt(D)
//
// S decodes, H query heads, G KV heads, D head dim, L context length, M splits at most.
//   0 step   u32 packed metadata (step.ts)
//   1 qkv    f32 [T, H + 2G, D], queries rotated
//   2 kv     KV_DTYPE [block, 2, G, BLOCK_SIZE, D], perhaps scales (kv_cache.ts)
//   3 parts  f32 [S, H, M, D]
//   4 peaks  f32 [S, H, M, 2], peak and total
// Dispatch: (splits of the longest, G * HEAD_GROUPS, S). HEADS query heads of one KV head are computed
// together, so that each K and V is read once for all of them (GQA, Ainslie 2023, 2305.13245).
// Method: flash-decoding's splits over PagedAttention's blocks (Kwon 2023, 2309.06180), of fixed length, so
// that a sequence's result does not depend on its batch. Scores: SLICES lanes per position, next to each
// other in memory. Softmax: eight lanes per head. Output: lanes along D, COLUMN_GROUPS positions at a time.
// Reference: paged_attention_definition.ts; error below 1e-5 * max |V| with the reduction.

const H: u32 = ${H}u;
const HEADS: u32 = ${HEADS}u;
const HEAD_GROUPS: u32 = ${H / G / HEADS}u;
const MAX_SPLITS: u32 = ${MAX_SPLITS}u;
const SPLIT_LEN: u32 = ${SPLIT_LEN}u;
const LANES: u32 = ${LANES}u;
const SLICES: u32 = ${SLICES}u;
const COLUMN_GROUPS: u32 = ${COLUMN_GROUPS}u;
/// One weight more than a split has positions: it stays 0, for positions past the end.
const PITCH: u32 = ${SPLIT_LEN + 1}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> kv: array<KvLoad>;
@group(0) @binding(3) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> peaks: array<vec2<f32>>;

var<workgroup> queries: array<vec4<f32>, ${HEADS * D / 4}>;
/// [head][position][slice] of scores, later [lane][4] of sums.
var<workgroup> partial: array<f32, ${Math.max(HEADS * SPLIT_LEN * SLICES, 4 * LANES)}>;
var<workgroup> weights: array<f32, ${HEADS * (SPLIT_LEN + 1)}>;
var<workgroup> eighths: array<vec2<f32>, ${HEADS * 8}>;

fn keep_sum(lane: u32, sum: vec4<f32>) {
  partial[4u * lane] = sum.x;
  partial[4u * lane + 1u] = sum.y;
  partial[4u * lane + 2u] = sum.z;
  partial[4u * lane + 3u] = sum.w;
}

fn kept_sum(lane: u32) -> vec4<f32> {
  let at = 4u * lane;
  return vec4(partial[at], partial[at + 1u], partial[at + 2u], partial[at + 3u]);
}

/// First load of position `p`'s block.
fn block_of(table: u32, p: u32) -> u32 {
  return step[table + p / ${BLOCK_SIZE}u] * ${BLOCK_LOADS}u;
}

@compute @workgroup_size(${LANES})
fn paged_attention_decode_shared(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let kv_head = group.y / HEAD_GROUPS;
  let first_head = group.y * HEADS;
  let seq = step[STEP_SEQS] + group.z * SEQ_WORDS;
  let begin = group.x * SPLIT_LEN;
  let end = min(begin + SPLIT_LEN, step[seq + SEQ_CONTEXT_LEN]);
  // The same for all lanes.
  if (begin >= end) { return; }
  let table = step[seq + SEQ_TABLE];
  let q_row = (step[seq + SEQ_FIRST_ROW] * ${H + 2 * G}u + first_head) * ${D / 4}u;
  for (var i = lane; i < ${HEADS * D / 4}u; i += LANES) {
    queries[i] = qkv[q_row + i] * ${1 / Math.sqrt(D)};
  }
  workgroupBarrier();  // the queries are staged

  let slice = lane % SLICES;
//# for j in 0..SPLIT_LEN * SLICES / LANES
  {
    let at = lane / SLICES + ${j}u * (LANES / SLICES);
    let p = min(begin + at, end - 1u);
    let block = block_of(table, p);
    let vector = kv_head * ${BLOCK_SIZE}u + p % ${BLOCK_SIZE}u;
    let k_base = block + vector * ${VECTOR_LOADS}u + slice;
//# for h in 0..HEADS
    var s${h} = 0.0;
//# end
//# for i in 0..VECTOR_LOADS / SLICES
    let k${i} = kv[k_base + ${i}u * SLICES];
//# end
//# for i in 0..VECTOR_LOADS / SLICES
//# for u in 0..LOAD_QUADS
    let x${i}_${u} = kv_quad${u}(k${i});
//# for h in 0..HEADS
    s${h} += dot(queries[(${i}u * SLICES + slice) * ${LOAD_QUADS}u + ${u + h * D / 4}u], x${i}_${u});
//# end
//# end
//# end
//# if KV_SCALED
    let scale = kv_scale(kv[block + ${2 * G * BLOCK_SIZE * VECTOR_LOADS}u + vector]);
//# else
    let scale = 1.0;
//# end
//# for h in 0..HEADS
    partial[(${h * SPLIT_LEN}u + at) * SLICES + slice] = s${h} * scale;
//# end
  }
//# end
  workgroupBarrier();  // the slices' scores are there

  let head = lane / 8u;
  let eighth = lane % 8u;
  let has_scores = lane < HEADS * 8u;
//# for i in 0..SPLIT_LEN / 8
  var s${i} = -3.4e38;
//# end
  if (has_scores) {
    var best = -3.4e38;
//# for i in 0..SPLIT_LEN / 8
    if (begin + ${8 * i}u + eighth < end) {
      let at = (head * SPLIT_LEN + ${8 * i}u + eighth) * SLICES;
      s${i} = partial[at];
//# for k in 1..SLICES
      s${i} += partial[at + ${k}u];
//# end
      best = max(best, s${i});
    }
//# end
    eighths[lane].x = best;
  }
  workgroupBarrier();  // each eighth's largest score is there
  var peak = -3.4e38;
  if (has_scores) {
//# for k in 0..8
    peak = max(peak, eighths[head * 8u + ${k}u].x);
//# end
    var total = 0.0;
//# for i in 0..SPLIT_LEN / 8
    {
      let at = ${8 * i}u + eighth;
      let weight = select(0.0, exp(s${i} - peak), begin + at < end);
      total += weight;
//# if KV_SCALED
      let p = min(begin + at, end - 1u);
      let vector = kv_head * ${BLOCK_SIZE}u + p % ${BLOCK_SIZE}u;
      let scale = kv_scale(kv[block_of(table, p) + ${(2 * G * VECTOR_LOADS + G) * BLOCK_SIZE}u + vector]);
      weights[head * PITCH + at] = weight * scale;
//# else
      weights[head * PITCH + at] = weight;
//# end
    }
//# end
    eighths[lane].y = total;
  }
  workgroupBarrier();  // the weights are there
  if (has_scores && eighth == 0u) {
    var total = 0.0;
//# for k in 0..8
    total += eighths[lane + ${k}u].y;
//# end
    peaks[(group.z * H + first_head + head) * MAX_SPLITS + group.x] = vec2(peak, total);
  }

  let column = lane % ${VECTOR_LOADS}u;
  let row = lane / ${VECTOR_LOADS}u;
//# for h in 0..HEADS
//# for u in 0..LOAD_QUADS
  var o${h}_${u} = vec4(0.0);
//# end
//# end
  if (row < COLUMN_GROUPS) {
    for (var p = begin + row; p < end; p += 4u * COLUMN_GROUPS) {
//# for i in 0..4
      let p${i} = p + ${i}u * COLUMN_GROUPS;
      let c${i} = min(p${i}, end - 1u);
      let at${i} = select(SPLIT_LEN, p${i} - begin, p${i} < end);
      let v${i} = kv[block_of(table, c${i}) + (kv_head * ${BLOCK_SIZE}u + c${i} % ${BLOCK_SIZE}u) *
        ${VECTOR_LOADS}u + ${G * BLOCK_SIZE * VECTOR_LOADS}u + column];
//# end
//# for i in 0..4
//# for u in 0..LOAD_QUADS
      let y${i}_${u} = kv_quad${u}(v${i});
//# end
//# for h in 0..HEADS
      let w${i}_${h} = weights[${h}u * PITCH + at${i}];
//# for u in 0..LOAD_QUADS
      o${h}_${u} += w${i}_${h} * y${i}_${u};
//# end
//# end
//# end
    }
  }
//# for h in 0..HEADS
//# for u in 0..LOAD_QUADS
  keep_sum(lane, o${h}_${u});
  workgroupBarrier();  // one head's sums are there
  if (lane < ${VECTOR_LOADS}u) {
    var sum = o${h}_${u};
//# for r in 1..COLUMN_GROUPS
    sum += kept_sum(lane + ${r * VECTOR_LOADS}u);
//# end
    let part = (group.z * H + first_head + ${h}u) * MAX_SPLITS + group.x;
    parts[part * ${D / 4}u + lane * ${LOAD_QUADS}u + ${u}u] = sum;
  }
  workgroupBarrier();  // and read
//# end
//# end
}
