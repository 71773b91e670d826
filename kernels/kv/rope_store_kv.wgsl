// rope_store_kv: rotates queries and keys by their positions (RoPE, Su 2021, 2104.09864) and writes
// keys and values to their slots in the paged KV pool.
//
//   (a, b) at dims (i, i + R/2) becomes (a cos - b sin, b cos + a sin),  i < R/2,
//   angle = position * frequency_i; dims from R on stay as they are
//
// Where an element of K or V is not a finite number in KV_DTYPE, K's is stored as NaN (0x7fff in
// f16 where it is merely too large) and V's as 0: rows that attend to the position get NaN, and no
// others, since attention masks scores, while it multiplies V by weights of 0, which NaN survives.
// `marks(value)` (_store_f16.wgsl, _store_f32.wgsl) is what K is stored as for such elements, by
// their bits; 0 for others.
//
// With QUERY_SPAN > 0 a query at position p is then multiplied by 1 + QUERY_RATE ln(1 + floor(p /
// QUERY_SPAN)) (Llama 4).
//
// Before the rotation, with HAS_BIASES x becomes x + bias, and then with HAS_NORMS x of a query or
// key head becomes w * x / sqrt(mean(x^2) + eps) (Qwen3's norms). Without STORES there are queries
// alone.
//
// T tokens, H query heads, G KV heads, HEADS of both or queries alone, D head dim, R rotary dims.
//   0 step    u32 packed metadata (step.ts)
//   1 rope    f32 [P, R/2, 2], cos and sin per row that the step's `angles` name, with R > 0
//   2 qkv     f32 [T, HEADS, D]: queries are rotated in place
//   3 kv      KV_DTYPE [block, 2, G, BLOCK_SIZE, D] (kv_cache.ts), with STORES
//   4 norms   f32 [2, D], weights for queries and for keys, with HAS_NORMS
//   5 biases  f32 [HEADS, D], with HAS_BIASES
// Dispatch: (ceil(HEADS * D/4 / WORKGROUP), T, 1); a lane owns dims 2j, 2j+1 and their partners R/2
// on, or of the dims past R any two and two, so that f16 pairs are written as whole words. A
// workgroup has whole heads, whose lanes share their sums of squares.
// Reference: rope_store_kv.ts; error below 1e-6 of the head's largest magnitude before rounding to
// KV_DTYPE, 2e-6 with norms.

const H: u32 = ${H}u;
const G: u32 = ${G}u;
const HEADS: u32 = ${HEADS}u;
const D: u32 = ${D}u;
const LANES: u32 = ${D / 4}u;  // per head
const BLOCK_SIZE: u32 = ${BLOCK_SIZE}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
//# if ROTARY_DIM > 0
@group(0) @binding(1) var<storage, read> rope: array<vec4<f32>>;
//# end
@group(0) @binding(2) var<storage, read_write> qkv: array<vec2<f32>>;

//# if STORES
@group(0) @binding(3) var<storage, read_write> kv: array<KvPair>;
//# end

//# if HAS_NORMS
@group(0) @binding(4) var<storage, read> norms: array<vec2<f32>>;
//# end

//# if HAS_BIASES
@group(0) @binding(5) var<storage, read> biases: array<vec2<f32>>;
//# end

//# if STORES
/// Stores `value`, which has `own` marks, with `stored` in the place of marked elements.
fn store_pair(at: u32, value: vec2<f32>, own: vec2<u32>, stored: vec2<u32>) {
  kv[at] = pair_of(value, stored, (own | stored) == vec2(0u));
}

/// First pair of one head's K (which 0) or V (1) at a slot.
fn kv_row(slot: u32, which: u32, head: u32) -> u32 {
  let vector = (which * G + head) * BLOCK_SIZE + slot % BLOCK_SIZE;
//# if KV_DTYPE == "f16"
  return slot / BLOCK_SIZE * ${STRIDE}u + ${LAYER_OFFSET}u + vector * (D / 2u);
//# else
  return slot / BLOCK_SIZE * ${STRIDE / 2}u + ${LAYER_OFFSET / 2}u + vector * (D / 2u);
//# end
}
//# end

/// Pair `pair` of head `head` of row `t`, with its bias.
fn load_pair(t: u32, head: u32, pair: u32) -> vec2<f32> {
  let at = head * (D / 2u) + pair;
//# if HAS_BIASES
  return qkv[t * (HEADS * (D / 2u)) + at] + biases[at];
//# else
  return qkv[t * (HEADS * (D / 2u)) + at];
//# end
}

@compute @workgroup_size(${WORKGROUP})
fn rope_store_kv(
  @builtin(global_invocation_id) id: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let head = id.x / LANES;
//# if !HAS_NORMS
  if (head >= HEADS) { return; }
//# end
  let t = id.y;
  let lane = id.x % LANES;
//# if ROTARY_DIM > 0 && ROTARY_DIM < D
  let rotates = lane < ${ROTARY_DIM / 4}u;
  let low = select(lane + ${ROTARY_DIM / 4}u, lane, rotates);
  let high = low + select(${(D - ROTARY_DIM) / 4}u, ${ROTARY_DIM / 4}u, rotates);
//# else
  let low = lane;            // pair of dims 2 * low
  let high = low + LANES;    // their partners, D/2 on
//# end
  let own = min(head, HEADS - 1u);
  var a = load_pair(t, own, low);
  var b = load_pair(t, own, high);
//# if HAS_NORMS
  let scale = inverse_rms(local, dot(a, a) + dot(b, b));
  if (head >= HEADS) { return; }
//# end
  if (head < H + G) {
//# if HAS_NORMS
    let weights = select(0u, D / 2u, head >= H);
    a *= scale * norms[weights + low];
    b *= scale * norms[weights + high];
//# end
//# if ROTARY_DIM > 0
//# if ROTARY_DIM < D
    if (rotates) {
//# end
    let angles = rope[step[step[STEP_ANGLES] + t] * ${ROTARY_DIM / 4}u + low];
    let c = angles.xz;
    let s = angles.yw;
    let rotated = a * c - b * s;
    b = b * c + a * s;
    a = rotated;
//# if ROTARY_DIM < D
    }
//# end
//# end
  }
  if (head < H) {
    let row = (t * HEADS + head) * (D / 2u);
//# if QUERY_SPAN > 0
    let growth = 1.0 + ${QUERY_RATE} * log(1.0 + f32(step[step[STEP_POSITIONS] + t] / ${QUERY_SPAN}u));
    a *= growth;
    b *= growth;
//# end
    qkv[row + low] = a;
    qkv[row + high] = b;
    return;
  }
//# if STORES
  let slot = step[step[STEP_SLOTS + GROUP_AT] + t];
  let which = select(0u, 1u, head >= H + G);
  let target_row = kv_row(slot, which, head - H - which * G);
  var stored_a = vec2(0u);
  var stored_b = vec2(0u);
  if (which == 0u) {
    stored_a = marks(a) | marks(load_pair(t, head + G, low));
    stored_b = marks(b) | marks(load_pair(t, head + G, high));
  }
  store_pair(target_row + low, a, marks(a), stored_a);
  store_pair(target_row + high, b, marks(b), stored_b);
//# end
}
