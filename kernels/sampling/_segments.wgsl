// Shared by the kernels that draw: a row of V logits is cut into Z segments, each scanned by one
// lane. Segment s holds the tokens c * SEGMENT_LANES * SEGMENT + i * SEGMENT_LANES + l below V,
// with c = s / SEGMENT_LANES, l = s % SEGMENT_LANES, i < SEGMENT: neighbouring lanes read
// neighbouring logits. V, Z and SEGMENT are arguments.
//
// segments u32 [R, SEGMENT_PLANES, Z]: SEGMENT_MAX the largest logit, SEGMENT_WEIGHT a sum of
// exp(), SEGMENT_SCORE the best score, all f32 bits, and SEGMENT_TOKEN the token of the score, or
// else of the largest logit. A segment with a logit that has overflowed (_logit_range.wgsl) has
// HIGHEST for its largest and NO_TOKEN, so that it wins over all others and its row draws nothing.

const SEGMENT_LANES: u32 = ${SEGMENT_LANES}u;
const NO_TOKEN: u32 = 0xffffffffu;

struct Best { value: f32, token: u32 }

/// The larger value; on a tie the lower token.
fn better(a: Best, b: Best) -> Best {
  if (b.value > a.value || (b.value == a.value && b.token < a.token)) { return b; }
  return a;
}

/// Z where it ends a loop: of an argument that alone bounds one, lavapipe compiles the kernel again
/// for each value.
fn num_segments() -> u32 { return min(args.Z, arrayLength(&segments)); }

fn first_token(segment: u32) -> u32 {
  return (segment / SEGMENT_LANES) * SEGMENT_LANES * args.SEGMENT + segment % SEGMENT_LANES;
}

/// The end of the run of tokens that a segment shares with its neighbours.
fn end_token(segment: u32) -> u32 {
  return min((segment / SEGMENT_LANES + 1u) * SEGMENT_LANES * args.SEGMENT, args.V);
}

/// Uniform in (0, 1), by seed, output index and token.
fn uniform_draw(draw: u32, token: u32) -> f32 {
  var v = vec4(step[draw + DRAW_SEED_LOW], step[draw + DRAW_SEED_HIGH],
    step[draw + DRAW_OUTPUT_INDEX], token) * 1664525u + 1013904223u;
  v.x += v.y * v.w; v.y += v.z * v.x; v.z += v.x * v.y; v.w += v.y * v.z;
  v ^= v >> vec4(16u);
  v.x += v.y * v.w; v.y += v.z * v.x; v.z += v.x * v.y; v.w += v.y * v.z;
  return (f32(v.x >> 9u) + 0.5) / 8388608.0;
}

/// Noise that makes the largest sum of it and a scaled logit a draw by weight (Gumbel-max). Near 1
/// a device's log may be off by 2^-21, and so have the wrong sign; the exact least of -log(u) is
/// 6e-8.
fn gumbel(draw: u32, token: u32) -> f32 {
  return -log(max(-log(uniform_draw(draw, token)), 5e-8));
}

/// Whether a draw passes over the whole vocabulary: no filter but perhaps the nucleus.
fn is_whole(draw: u32) -> bool {
  let top_k = step[draw + DRAW_TOP_K];
  return (top_k == 0u || top_k >= args.V) && bitcast<f32>(step[draw + DRAW_MIN_P]) <= 0.0;
}
