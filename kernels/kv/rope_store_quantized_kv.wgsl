// rope_store_quantized_kv: as rope_store_kv, for pools of codes with a scale per token and head.
//
//   scale = max_d |x[d]| / CODE_MAX,  code[d] = round(x[d] / scale) in int8 and fp8 (e4m3)
//   with HADAMARD > 0 (int4) x, queries too, is the Walsh-Hadamard transform of what was rotated,
//   and its scale is fitted (below)
//   of a position with NaN or infinity in K or V of a head, K's scale is NaN and V's 0, as in
//   rope_store_kv.wgsl; with HADAMARD also of one with magnitudes from FINITE_BITS on, whose sums
//   might overflow
//
// For codes of levels c the scale of least squared error is sum(x c) / sum(c^2), and leaves
// sum(x^2) - sum(x c)^2 / sum(c^2). With SHARES of the scale above, each gives codes and these a
// scale; the best of them gives the codes that are stored, and these the scale.
//
// T tokens, H query heads, G KV heads, HEADS of both or queries alone, D head dim, R rotary dims.
//   0 step    u32 packed metadata (step.ts)
//   1 rope    f32 [P, R/2, 2], cos and sin per row that the step's `angles` name, with R > 0
//   2 qkv     f32 [T, HEADS, D]: queries are rotated in place
//   3 kv      u32 [block] of [2, G, BLOCK_SIZE, D] codes and [2, G, BLOCK_SIZE] scales
//             (kv_cache.ts), with STORES
//   4 norms   f32 [2, D], weights for queries and for keys, with HAS_NORMS
//   5 biases  f32 [HEADS, D], with HAS_BIASES
// Dispatch: (ceil(HEADS / WORKGROUP), T, 1); a lane holds one head in registers, so that it finds
// the largest magnitude, and transforms, without a barrier.
// `word_of` (_store_int8.wgsl and the like) makes codes a word.
// Reference: rope_store_kv.ts; scales within 2e-6 relative, codes may differ by one step at a tie.

const H: u32 = ${H}u;
const G: u32 = ${G}u;
const HEADS: u32 = ${HEADS}u;
const QUADS: u32 = ${D / 4}u;          // groups of four dims per head
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

/// Quad `quad` of a head, with its bias.
fn load_quad(t: u32, head: u32, quad: u32) -> vec4<f32> {
  let at = head * QUADS + quad;
//# if HAS_BIASES
  return qkv[t * (HEADS * QUADS) + at] + biases[at];
//# else
  return qkv[t * (HEADS * QUADS) + at];
//# end
}

//# if STORES
fn magnitudes(x: vec4<f32>) -> vec4<u32> { return bitcast<vec4<u32>>(x) & vec4(0x7fffffffu); }

/// As integers magnitudes have the same order, and NaN is the largest: max() of floats may pass
/// over it.
fn largest(bits: vec4<u32>) -> u32 { return max(max(bits.x, bits.y), max(bits.z, bits.w)); }
//# end

@compute @workgroup_size(${WORKGROUP})
fn rope_store_quantized_kv(@builtin(global_invocation_id) id: vec3<u32>) {
  let head = id.x;
  if (head >= HEADS) { return; }
  let t = id.y;
  let is_value = head >= H + G;
//# for q in 0..D / 4
  var x${q} = load_quad(t, head, ${q}u);
//# end
//# if HAS_NORMS
  if (!is_value) {
    var squares = 0.0;
//# for q in 0..D / 4
    squares += dot(x${q}, x${q});
//# end
    let scale = inverseSqrt(squares / ${D}.0 + ${NORM_EPS});
    let weights = select(0u, QUADS, head >= H);
//# for q in 0..D / 4
    x${q} *= scale * norms[weights + ${q}u];
//# end
  }
//# end
//# if ROTARY_DIM > 0
  if (!is_value) {
    let angles = step[step[STEP_ANGLES] + t] * ${ROTARY_DIM / 4}u;
//# for q in 0..ROTARY_DIM / 8
    let first${q} = rope[angles + ${2 * q}u];
    let second${q} = rope[angles + ${2 * q + 1}u];
    let c${q} = vec4(first${q}.xz, second${q}.xz);
    let s${q} = vec4(first${q}.yw, second${q}.yw);
    let a${q} = x${q};
    x${q} = a${q} * c${q} - x${q + ROTARY_DIM / 8} * s${q};
    x${q + ROTARY_DIM / 8} = x${q + ROTARY_DIM / 8} * c${q} + a${q} * s${q};
//# end
  }
//# end
//# if STORES
  // Of K before it is transformed, and of the V beside it.
  var worst = vec4(0u);
  if (head >= H) {
//# for q in 0..D / 4
    worst = max(worst, magnitudes(x${q}));
//# end
    if (!is_value) {
//# for q in 0..D / 4
      worst = max(worst, magnitudes(load_quad(t, head + G, ${q}u)));
//# end
    }
  }
//# end
//# if HADAMARD > 0
${hadamard}
//# end
  if (head < H) {
    let row = (t * HEADS + head) * QUADS;
//# if QUERY_SPAN > 0
    let growth = 1.0 + ${QUERY_RATE} * log(1.0 + f32(step[step[STEP_POSITIONS] + t] / ${QUERY_SPAN}u));
//# else
    let growth = 1.0;
//# end
//# for q in 0..D / 4
    qkv[row + ${q}u] = x${q} * growth;
//# end
    return;
  }
//# if STORES
  var bits = vec4(0u);
//# for q in 0..D / 4
  bits = max(bits, magnitudes(x${q}));
//# end
  let absmax = bitcast<f32>(largest(bits));
  let is_zero = absmax < ${MIN_ABSMAX};
  let inverse = select(f32(${CODE_MAX}) / absmax, 0.0, is_zero);
//# for q in 0..D / 4
  x${q} *= inverse;
//# end
  var scale = absmax * ${1 / CODE_MAX};
//# if SHARES != ""
  var explained = -1.0;
  var share = 1.0;
//# for i in 0..SHARES.split(",").length
  var products${i} = 0.0;
  var squares${i} = 0.0;
//# for q in 0..D / 4
  let level${i}_${q} = level(x${q} * ${1 / SHARES.split(",")[i]});
  products${i} += dot(x${q}, level${i}_${q});
  squares${i} += dot(level${i}_${q}, level${i}_${q});
//# end
  let explained${i} = products${i} * products${i} / squares${i};
  share = select(share, products${i} / squares${i}, explained${i} > explained);
  explained = max(explained, explained${i});
//# end
  share = select(share, 1.0, is_zero);
  var products = 0.0;
  var squares = 0.0;
//# for q in 0..D / 4
  x${q} *= 1.0 / share;
  let level_${q} = level(x${q});
  products += dot(x${q}, level_${q});
  squares += dot(level_${q}, level_${q});
//# end
  scale = select(scale * share * (products / squares), 0.0, is_zero);
//# end
  let slot = step[step[STEP_SLOTS + GROUP_AT] + t];
  let which = select(0u, 1u, is_value);
  let vector = (which * G + head - H - which * G) * BLOCK_SIZE + slot % BLOCK_SIZE;
  let block = slot / BLOCK_SIZE * ${STRIDE_LOADS}u + ${LAYER_OFFSET_LOADS}u;
  let first = block + vector * ${VECTOR_LOADS}u;
//# for w in 0..VECTOR_LOADS
//# if LOAD_QUADS == 2
  kv[first + ${w}u] = word_of(x${2 * w}, x${2 * w + 1});
//# else
  kv[first + ${w}u] = word_of(x${w});
//# end
//# end
  let unfit = select(0x7fc00000u, 0u, is_value);
  kv[block + ${2 * G * BLOCK_SIZE * VECTOR_LOADS}u + vector] =
    select(unfit, bitcast<u32>(scale), largest(worst) < ${FINITE_BITS}u);
//# end
}
