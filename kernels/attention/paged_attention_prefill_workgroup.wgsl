// paged_attention_prefill_workgroup: paged_attention_prefill for GPUs, K staged in shared memory.
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
// Dispatch: (Q, G * ROW_GROUPS, 1). The rows of a workgroup are 64 pairs of a query of its tile and
// one of the query heads of one KV head, which read the same K and V.
// Method: FlashAttention-2 (Dao 2023, 2307.08691) over the block table. 32 positions at a time:
//   scores   as a matrix product, 16 dims of q and K staged at a time; 4 x 4 per lane
//   softmax  online (Milakov 2018, 1805.02867); the eight lanes of a row meet in shared memory
//   output   lanes along D, each with 64 / ROW_LANES rows; neighbours read neighbouring V
// Row r of row quad q is 16 r + q, which keeps the lanes' reads of staged queries on different
// banks.
// Shared memory: 16,128 bytes whatever the shape; WebGPU promises 16,384.
// Reference: paged_attention_definition.ts; error below 1e-5 * max |V|.

const H: u32 = ${H}u;
const HEADS_PER_KV: u32 = ${H / G}u;
const ROW_GROUPS: u32 = ${ROW_GROUPS}u;
const QUADS: u32 = ${D / 4}u;
/// Staged rows are one quad longer than what they hold, against bank conflicts.
const PITCH: u32 = 5u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> kv: array<KvLoad>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

//# if HAS_SINKS
@group(0) @binding(4) var<storage, read> sinks: array<f32>;
//# end

var<workgroup> q_tile: array<vec4<f32>, ${64 * 5}>;
var<workgroup> k_tile: array<vec4<f32>, ${32 * 5}>;
/// [position][row quad]
var<workgroup> weights: array<vec4<f32>, ${32 * 16}>;
/// [row quad]
var<workgroup> factors: array<vec4<f32>, 16>;

/// First load of position `p`'s block.
fn block_of(table: u32, p: u32) -> u32 {
  return step[table + p / ${BLOCK_SIZE}u] * ${STRIDE_LOADS}u + ${LAYER_OFFSET_LOADS}u;
}

@compute @workgroup_size(128)
fn paged_attention_prefill_workgroup(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let kv_head = workgroup_id.y / ROW_GROUPS;
  let tile = step[STEP_QUERY_TILES] + workgroup_id.x * QUERY_TILE_WORDS;
  let rows = step[tile + QUERY_TILE_NUM_ROWS] * HEADS_PER_KV;
  let first = workgroup_id.y % ROW_GROUPS * 64u;
  // The same for all lanes.
  if (first >= rows) { return; }
  let first_row = step[tile + QUERY_TILE_FIRST_ROW];
  let position = step[tile + QUERY_TILE_POSITION];
  let table = step[step[STEP_SEQS + GROUP_AT] + step[tile + QUERY_TILE_SEQ] * SEQ_WORDS + SEQ_TABLE];
  let end = position + (min(first + 64u, rows) - 1u) / HEADS_PER_KV + 1u;

  // The lane's staging: quad `lane % 4` of two rows and of one position. Rows past the last
  // repeat it.
  let staged = lane / 4u;
//# for j in 0..2
  let i${j} = min(first + staged + ${32 * j}u, rows - 1u);
  let q_row${j} = ((first_row + i${j} / HEADS_PER_KV) * ${QKV_HEADS}u + kv_head * HEADS_PER_KV +
    i${j} % HEADS_PER_KV) * QUADS;
//# end
  // Its share of the scores, and the last position that each of its rows sees.
  let row_quad = lane / 8u;
  let eighth = lane % 8u;
  let limits = vec4(position) + min(
    vec4(first + row_quad) + vec4(0u, 16u, 32u, 48u), vec4(rows - 1u)) / vec4(HEADS_PER_KV);
//# if WINDOW > 0
  let firsts = vec4(first_read(limits.x), first_read(limits.y), first_read(limits.z),
    first_read(limits.w));
  let first_live = first_read(position + first / HEADS_PER_KV);
//# end
//# if HAS_SINKS
  let row_heads = vec4(kv_head * HEADS_PER_KV) + min(
    vec4(first + row_quad) + vec4(0u, 16u, 32u, 48u), vec4(rows - 1u)) % vec4(HEADS_PER_KV);
  var max_score = vec4(sinks[row_heads.x], sinks[row_heads.y], sinks[row_heads.z],
    sinks[row_heads.w]);
  var totals = vec4(select(0.0, 1.0, eighth == 0u));
//# else
  var max_score = vec4(-3.4e38);
  var totals = vec4(0.0);
//# end
  // Its share of the output.
  let column = lane % ${VECTOR_LOADS}u;
  let row_lane = lane / ${VECTOR_LOADS}u;
//# for k in 0..16 / ROW_LANES
//# for r in 0..4
//# for u in 0..LOAD_QUADS
  var o${k}_${r}_${u} = vec4(0.0);
//# end
//# end
//# end

//# if WINDOW > 0
  for (var start = skip_dead(0u, first_live, 32u); start < end;
    start = skip_dead(start + 32u, first_live, 32u)) {
    let k_position = live_position(min(start + staged, end - 1u), first_live);
//# else
  for (var start = 0u; start < end; start += 32u) {
    let k_position = min(start + staged, end - 1u);
//# end
    let k_base = block_of(table, k_position) +
      (kv_head * ${BLOCK_SIZE}u + k_position % ${BLOCK_SIZE}u) * ${VECTOR_LOADS}u;
//# for j in 0..4
    var s${j} = vec4(0.0);
//# end
    for (var d0 = 0u; d0 < QUADS; d0 += 4u) {
      let quad = d0 + lane % 4u;
//# if D % 16 > 0
      // Dims past the end are zeros in both tiles.
      let is_inside = quad < QUADS;
//# else
      let is_inside = true;
//# end
      var q_a = vec4(0.0);
      var q_b = vec4(0.0);
      var k_a = vec4(0.0);
      if (is_inside) {
        q_a = qkv[q_row0 + quad] * f32(${SCALE});
        q_b = qkv[q_row1 + quad] * f32(${SCALE});
//# if LOAD_QUADS == 1
        k_a = kv_quad0(kv[k_base + quad]);
//# else
        let load = kv[k_base + quad / 2u];
        k_a = select(kv_quad0(load), kv_quad1(load), quad % 2u == 1u);
//# end
      }
      workgroupBarrier();  // nobody reads the last dims any more
      q_tile[staged * PITCH + lane % 4u] = q_a;
      q_tile[(staged + 32u) * PITCH + lane % 4u] = q_b;
      k_tile[staged * PITCH + lane % 4u] = k_a;
      workgroupBarrier();  // sixteen dims are staged
//# for c in 0..4
//# for r in 0..4
      let q${r}_${c} = q_tile[(row_quad + ${16 * r}u) * PITCH + ${c}u];
//# end
//# for j in 0..4
      let k${j}_${c} = k_tile[(eighth + ${8 * j}u) * PITCH + ${c}u];
      s${j} += vec4(dot(q0_${c}, k${j}_${c}), dot(q1_${c}, k${j}_${c}),
        dot(q2_${c}, k${j}_${c}), dot(q3_${c}, k${j}_${c}));
//# end
//# end
    }

//# for j in 0..4
    let p${j} = start + eighth + ${8 * j}u;
//# if KV_SCALED
//# if WINDOW > 0
    let c${j} = live_position(min(p${j}, end - 1u), first_live);
//# else
    let c${j} = min(p${j}, end - 1u);
//# end
    let scale${j} = block_of(table, c${j}) + ${2 * G * BLOCK_SIZE * VECTOR_LOADS}u +
      kv_head * ${BLOCK_SIZE}u + c${j} % ${BLOCK_SIZE}u;
    s${j} *= kv_scale(kv[scale${j}]);
//# end
//# if SOFT_CAP > 0
    s${j} = vec4(soft_cap(s${j}.x), soft_cap(s${j}.y), soft_cap(s${j}.z), soft_cap(s${j}.w));
//# end
//# if WINDOW > 0
//# if NUM_SINKS > 0
    let sees${j} = (vec4(p${j}) <= limits) & ((vec4(p${j}) >= firsts) | vec4(p${j} < NUM_SINKS));
//# else
    let sees${j} = (vec4(p${j}) <= limits) & (vec4(p${j}) >= firsts);
//# end
//# else
    let sees${j} = vec4(p${j}) <= limits;
//# end
    s${j} = select(vec4(-3.4e38), s${j}, sees${j});
//# end
    workgroupBarrier();  // nobody reads the queries any more: their room is for maxima
    q_tile[eighth * 16u + row_quad] = max(max(s0, s1), max(s2, s3));
    workgroupBarrier();  // every lane's maxima are there
    var new_max = max_score;
//# for k in 0..8
    new_max = max(new_max, q_tile[${16 * k}u + row_quad]);
//# end
    let rescale = exp(max_score - new_max);
    max_score = new_max;
    totals *= rescale;
//# for j in 0..4
    let e${j} = select(vec4(0.0), exp(s${j} - max_score), sees${j});
    totals += e${j};
//# if KV_SCALED
    let w${j} = e${j} * kv_scale(kv[scale${j} + ${G * BLOCK_SIZE}u]);
//# else
    let w${j} = e${j};
//# end
    weights[(eighth + ${8 * j}u) * 16u + row_quad] = w${j};
//# end
    if (eighth == 0u) { factors[row_quad] = rescale; }
    workgroupBarrier();  // the weights are there

    if (row_lane < ${ROW_LANES}u) {
//# for k in 0..16 / ROW_LANES
      let f${k} = factors[row_lane * ${16 / ROW_LANES}u + ${k}u];
//# for r in 0..4
//# for u in 0..LOAD_QUADS
      o${k}_${r}_${u} *= f${k}[${r}];
//# end
//# end
//# end
      for (var i = 0u; i < min(32u, end - start); i += 2u) {
//# for j in 0..2
        // Past the end weights are 0, and there are 32 of them.
//# if WINDOW > 0
        let p_${j} = live_position(min(start + i + ${j}u, end - 1u), first_live);
//# else
        let p_${j} = min(start + i + ${j}u, end - 1u);
//# end
        let v${j} = kv[block_of(table, p_${j}) + (kv_head * ${BLOCK_SIZE}u + p_${j} % ${BLOCK_SIZE}u) *
          ${VECTOR_LOADS}u + ${G * BLOCK_SIZE * VECTOR_LOADS}u + column];
//# end
//# for j in 0..2
//# for u in 0..LOAD_QUADS
        let x${j}_${u} = kv_quad${u}(v${j});
//# end
//# for k in 0..16 / ROW_LANES
        let w${j}_${k} = weights[(i + ${j}u) * 16u + row_lane * ${16 / ROW_LANES}u + ${k}u];
//# for r in 0..4
//# for u in 0..LOAD_QUADS
        o${k}_${r}_${u} += w${j}_${k}[${r}] * x${j}_${u};
//# end
//# end
//# end
//# end
      }
    }
  }

  workgroupBarrier();  // nobody reads the factors any more
  q_tile[eighth * 16u + row_quad] = totals;
  workgroupBarrier();  // every lane's totals are there
  if (lane < 16u) {
    var sum = q_tile[lane];
//# for k in 1..8
    sum += q_tile[${16 * k}u + lane];
//# end
    factors[lane] = sum;
  }
  workgroupBarrier();  // every row's total is there
  if (row_lane >= ${ROW_LANES}u) { return; }
  // In a loop over r: written out for each, a store takes llvmpipe long to compile.
  let first_own = first + row_lane * ${16 / ROW_LANES}u;
  for (var r = 0u; r < 4u && first_own + 16u * r < rows; r++) {
//# for k in 0..16 / ROW_LANES
    {
      let i = first_own + 16u * r + ${k}u;
//# for u in 0..LOAD_QUADS
      var o_${u} = o${k}_0_${u};
//# for r in 1..4
      o_${u} = select(o_${u}, o${k}_${r}_${u}, r == ${r}u);
//# end
//# end
      if (i < rows) {
        let target_row = (first_row + i / HEADS_PER_KV) * H + kv_head * HEADS_PER_KV + i % HEADS_PER_KV;
        let total = factors[row_lane * ${16 / ROW_LANES}u + ${k}u][r];
//# for u in 0..LOAD_QUADS
        out[target_row * QUADS + column * ${LOAD_QUADS}u + ${u}u] = o_${u} / total;
//# end
      }
    }
//# end
  }
}
