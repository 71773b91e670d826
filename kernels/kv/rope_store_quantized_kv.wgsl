// rope_store_quantized_kv: as rope_store_kv, for pools of codes with a scale per token and head.
//
//   scale = max_d |x[d]| / CODE_MAX,  code[d] = round(x[d] / scale) in int8, fp8 (e4m3) or int4
//   of a position with NaN or infinity in K or V of a head, K's scale is NaN and V's 0, as in
//   rope_store_kv.wgsl
//
// T tokens, H query heads, G KV heads, HEADS of both or queries alone, D head dim, R rotary dims.
//   0 step    u32 packed metadata (step.ts)
//   1 rope    f32 [P, R/2, 2], cos and sin per row that the step's `angles` name, with R > 0
//   2 qkv     f32 [T, HEADS, D]: queries are rotated in place
//   3 kv      u32 [block] of [2, G, BLOCK_SIZE, D] codes and [2, G, BLOCK_SIZE] scales
//             (kv_cache.ts), with STORES
//   4 norms   f32 [2, D], weights for queries and for keys, with HAS_NORMS
//   5 biases  f32 [HEADS, D], with HAS_BIASES
// Dispatch: (ceil(HEADS * LANES / WORKGROUP), T, 1); a lane owns the dims of one word and their
// partners R/2 on, or of the dims past R two words. Each lane of a K or V head finds the head's
// largest magnitude by itself, which takes no barrier; the loads are the same in all lanes.
// `word_of` (_store_int8.wgsl and the like) makes codes a word.
// Reference: rope_store_kv.ts; scales within 1e-6 relative, codes may differ by one step at a tie.

const H: u32 = ${H}u;
const G: u32 = ${G}u;
const HEADS: u32 = ${HEADS}u;
const QUADS: u32 = ${D / 4}u;          // groups of four dims per head
const HALF: u32 = ${D / 8}u;           // of these, in either half
const LANES: u32 = ${D / 8 / LOAD_QUADS}u;  // per head
const BLOCK_SIZE: u32 = ${BLOCK_SIZE}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
//# if ROTARY_DIM > 0
@group(0) @binding(1) var<storage, read> rope: array<vec4<f32>>;
//# end
@group(0) @binding(2) var<storage, read_write> qkv: array<vec4<f32>>;

//# if STORES
@group(0) @binding(3) var<storage, read_write> kv: array<u32>;
//# end

//# if HAS_NORMS
@group(0) @binding(4) var<storage, read> norms: array<vec4<f32>>;
//# end

//# if HAS_BIASES
@group(0) @binding(5) var<storage, read> biases: array<vec4<f32>>;
//# end

/// Quads of dims that are rotated: the first of each pair of quads, and how far its partner is.
const ROTARY_HALF: u32 = ${ROTARY_DIM / 8}u;

/// The lower quad of pair `quad` of HALF, and its partner.
//# if ROTARY_DIM > 0 && ROTARY_DIM < D
fn low_quad(quad: u32) -> u32 { return select(quad + ROTARY_HALF, quad, quad < ROTARY_HALF); }
fn high_quad(quad: u32) -> u32 {
  return low_quad(quad) + select(HALF - ROTARY_HALF, ROTARY_HALF, quad < ROTARY_HALF);
}
//# else
fn low_quad(quad: u32) -> u32 { return quad; }
fn high_quad(quad: u32) -> u32 { return quad + HALF; }
//# end

/// Four dims of the lower half and their partners.
struct Pairs { low: vec4<f32>, high: vec4<f32> }

/// A head of the step: its row and its index there, its rows of the angles and of the norms'
/// weights, and 1 / RMS.
struct Head { t: u32, head: u32, angles: u32, weights: u32, scale: f32, is_value: bool }

/// Quad `quad` of a head, with its bias.
fn load_quad(t: u32, head: u32, quad: u32) -> vec4<f32> {
  let at = head * QUADS + quad;
//# if HAS_BIASES
  return qkv[t * (HEADS * QUADS) + at] + biases[at];
//# else
  return qkv[t * (HEADS * QUADS) + at];
//# end
}

/// Pairs `quad` of a head as they were computed.
fn raw_pairs(t: u32, head: u32, quad: u32) -> Pairs {
  return Pairs(load_quad(t, head, low_quad(quad)), load_quad(t, head, high_quad(quad)));
}

/// Pairs `quad` of a head, normalized and rotated unless it holds values.
fn load_pairs(head: Head, quad: u32) -> Pairs {
  let raw = raw_pairs(head.t, head.head, quad);
  if (head.is_value) { return raw; }
//# if HAS_NORMS
  let a = raw.low * head.scale * norms[head.weights + low_quad(quad)];
  let b = raw.high * head.scale * norms[head.weights + high_quad(quad)];
//# else
  let a = raw.low;
  let b = raw.high;
//# end
//# if ROTARY_DIM == 0
  return Pairs(a, b);
//# else
//# if ROTARY_DIM < D
  if (quad >= ROTARY_HALF) { return Pairs(a, b); }
//# end
  let first = rope[head.angles + 2u * quad];
  let second = rope[head.angles + 2u * quad + 1u];
  let c = vec4(first.xz, second.xz);
  let s = vec4(first.yw, second.yw);
  return Pairs(a * c - b * s, b * c + a * s);
//# end
}

fn magnitudes(x: vec4<f32>) -> vec4<u32> { return bitcast<vec4<u32>>(x) & vec4(0x7fffffffu); }

@compute @workgroup_size(${WORKGROUP})
fn rope_store_quantized_kv(
  @builtin(global_invocation_id) id: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let head = id.x / LANES;
//# if !HAS_NORMS
  if (head >= HEADS) { return; }
//# end
  let lane = id.x % LANES;
  let t = id.y;
  let index = min(head, HEADS - 1u);
  var scale = 1.0;
//# if HAS_NORMS
  var share = 0.0;
//# for u in 0..LOAD_QUADS
  let raw${u} = raw_pairs(t, index, lane * ${LOAD_QUADS}u + ${u}u);
  share += dot(raw${u}.low, raw${u}.low) + dot(raw${u}.high, raw${u}.high);
//# end
  scale = inverse_rms(local, share);
  if (head >= HEADS) { return; }
//# end
  let is_value = head >= H + G;
  let angles = step[step[STEP_ANGLES] + t] * ${ROTARY_DIM / 4}u;
  let own = Head(t, index, angles, select(0u, QUADS, head >= H), scale, is_value);
//# for u in 0..LOAD_QUADS
  let own${u} = load_pairs(own, lane * ${LOAD_QUADS}u + ${u}u);
//# end
  if (head < H) {
    let row = (t * HEADS + head) * QUADS;
//# for u in 0..LOAD_QUADS
    qkv[row + low_quad(lane * ${LOAD_QUADS}u + ${u}u)] = own${u}.low;
    qkv[row + high_quad(lane * ${LOAD_QUADS}u + ${u}u)] = own${u}.high;
//# end
    return;
  }
//# if STORES
  // As integers magnitudes have the same order, and NaN is the largest: max() of floats may pass
  // over it.
  var lane_absmax = vec4(0u);
  for (var quad = 0u; quad < HALF; quad++) {
    let pairs = load_pairs(own, quad);
    lane_absmax = max(lane_absmax, max(magnitudes(pairs.low), magnitudes(pairs.high)));
  }
  let absmax = bitcast<f32>(max(max(lane_absmax.x, lane_absmax.y), max(lane_absmax.z, lane_absmax.w)));
  let inverse = select(${CODE_MAX}.0 / absmax, 0.0, absmax < ${MIN_ABSMAX});
  let slot = step[step[STEP_SLOTS + GROUP_AT] + t];
  let which = select(0u, 1u, is_value);
  let vector = (which * G + head - H - which * G) * BLOCK_SIZE + slot % BLOCK_SIZE;
  let block = slot / BLOCK_SIZE * ${STRIDE_LOADS}u + ${ROW_LOADS}u;
  let word = block + vector * ${VECTOR_LOADS}u + low_quad(lane * ${LOAD_QUADS}u) / ${LOAD_QUADS}u;
  let partner = block + vector * ${VECTOR_LOADS}u + high_quad(lane * ${LOAD_QUADS}u) / ${LOAD_QUADS}u;
//# if LOAD_QUADS == 2
  kv[word] = word_of(own0.low * inverse, own1.low * inverse);
  kv[partner] = word_of(own0.high * inverse, own1.high * inverse);
//# else
  kv[word] = word_of(own0.low * inverse);
  kv[partner] = word_of(own0.high * inverse);
//# end
  if (lane == 0u) {
    var worst = bitcast<u32>(absmax);
    if (!is_value) {
      for (var quad = 0u; quad < HALF; quad++) {
        let pairs = raw_pairs(t, head + G, quad);
        let both = max(magnitudes(pairs.low), magnitudes(pairs.high));
        worst = max(worst, max(max(both.x, both.y), max(both.z, both.w)));
      }
    }
    let stored = select(0x7fc00000u, 0u, is_value);
    let is_finite = worst < 0x7f800000u;
    kv[block + ${2 * G * BLOCK_SIZE * VECTOR_LOADS}u + vector] =
      select(stored, bitcast<u32>(absmax * ${1 / CODE_MAX}), is_finite);
  }
//# end
}
