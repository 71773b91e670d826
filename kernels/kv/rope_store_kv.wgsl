// rope_store_kv: rotates queries and keys by their positions (RoPE, Su 2021, 2104.09864) and writes
// keys and values to their slots in the paged KV pool.
//
//   (a, b) at dims (i, i + D/2) becomes (a cos - b sin, b cos + a sin),
//   angle = position * frequency_i
//
// Where an element of K or V is not a finite number in KV_DTYPE, K's is stored as NaN (0x7fff in
// f16 where it is merely too large) and V's as 0: rows that attend to the position get NaN, and no
// others, since attention masks scores, while it multiplies V by weights of 0, which NaN survives.
// `marks(value)` (_store_f16.wgsl, _store_f32.wgsl) is what K is stored as for such elements, by
// their bits; 0 for others.
//
// With HAS_NORMS, x of a query or key head becomes w * x / sqrt(mean(x^2) + eps) first (Qwen3's
// norms).
//
// T tokens, H query heads, G KV heads, D head dim.
//   0 step   u32 packed metadata (step.ts)
//   1 rope   f32 [P, D/2, 2], cos and sin per position
//   2 qkv    f32 [T, H + 2G, D]: queries are rotated in place
//   3 kv     KV_DTYPE [block, 2, G, BLOCK_SIZE, D] (kv_cache.ts)
//   4 norms  f32 [2, D], weights for queries and for keys
// Dispatch: (ceil((H + 2G) * D/4 / WORKGROUP), T, 1); a lane owns dims 2j, 2j+1 and their partners
// D/2 on, so that f16 pairs are written as whole words. A workgroup has whole heads, whose lanes
// share their sums of squares.
// Reference: rope_store_kv.ts; error below 1e-6 of the head's largest magnitude before rounding to
// KV_DTYPE, 2e-6 with norms.

const H: u32 = ${H}u;
const G: u32 = ${G}u;
const D: u32 = ${D}u;
const LANES: u32 = ${D / 4}u;  // per head
const BLOCK_SIZE: u32 = ${BLOCK_SIZE}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> rope: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> qkv: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> kv: array<KvPair>;

//# if HAS_NORMS
@group(0) @binding(4) var<storage, read> norms: array<vec2<f32>>;
//# end

/// Stores `value`, which has `own` marks, with `stored` in the place of marked elements.
fn store_pair(at: u32, value: vec2<f32>, own: vec2<u32>, stored: vec2<u32>) {
  kv[at] = pair_of(value, stored, (own | stored) == vec2(0u));
}

/// Row of one head's K (which 0) or V (1) at a slot, in units of D elements.
fn kv_row(slot: u32, which: u32, head: u32) -> u32 {
  return ((slot / BLOCK_SIZE * 2u + which) * G + head) * BLOCK_SIZE + slot % BLOCK_SIZE;
}

@compute @workgroup_size(${WORKGROUP})
fn rope_store_kv(
  @builtin(global_invocation_id) id: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let head = id.x / LANES;
//# if !HAS_NORMS
  if (head >= H + 2u * G) { return; }
//# end
  let t = id.y;
  let low = id.x % LANES;          // pair of dims 2 * low
  let high = low + LANES;          // their partners, D/2 on
  let row = (t * (H + 2u * G) + min(head, H + 2u * G - 1u)) * (D / 2u);
  var a = qkv[row + low];
  var b = qkv[row + high];
//# if HAS_NORMS
  let scale = inverse_rms(local, dot(a, a) + dot(b, b));
  if (head >= H + 2u * G) { return; }
//# end
  if (head < H + G) {
//# if HAS_NORMS
    let weights = select(0u, D / 2u, head >= H);
    a *= scale * norms[weights + low];
    b *= scale * norms[weights + high];
//# end
    let angles = rope[step[step[STEP_POSITIONS] + t] * LANES + low];
    let c = angles.xz;
    let s = angles.yw;
    let rotated = a * c - b * s;
    b = b * c + a * s;
    a = rotated;
  }
  if (head < H) {
    qkv[row + low] = a;
    qkv[row + high] = b;
    return;
  }
  let slot = step[step[STEP_SLOTS] + t];
  let which = select(0u, 1u, head >= H + G);
  let target_row = kv_row(slot, which, head - H - which * G) * (D / 2u);
  var stored_a = vec2(0u);
  var stored_b = vec2(0u);
  if (which == 0u) {
    let values = row + G * (D / 2u);
    stored_a = marks(a) | marks(qkv[values + low]);
    stored_b = marks(b) | marks(qkv[values + high]);
  }
  store_pair(target_row + low, a, marks(a), stored_a);
  store_pair(target_row + high, b, marks(b), stored_b);
}
