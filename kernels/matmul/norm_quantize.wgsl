// norm_quantize: rms_norm, and quantize_rows of what it gives.
//
//   u[r, k] = x[s, k] / sqrt(mean(x[s, :]^2) + EPS) * norm[k]
//   u[r, k] ~ scales[r, k / 32] * codes[r, k]
//   s = r, or the row of draw r when GATHER
//
// R rows, K inputs, a multiple of 32.
//   0 step    u32 packed metadata (step.ts)
//   1 x       f32 [T, K]
//   2 norm    f32 [K]
//   3 codes   i8 [R, K]
//   4 scales  f32 [R, K / 32]
// Dispatch: (R, 1, 1), one workgroup of LANES lanes per row.
// Reference: norm_quantize.ts; relative error of a scale below 1e-5, and a code is off by at most
// one, where the exact multiple lies within 127e-5 of a half.

const K4: u32 = ${K / 4}u;
const SPANS: u32 = ${K / 32}u;
const LANES: u32 = ${LANES}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> norm: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> codes: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> scales: array<f32>;

@compute @workgroup_size(LANES)
fn norm_quantize(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = workgroup_id.x;
//# if GATHER
  let source = step[step[STEP_DRAWS] + row * DRAW_WORDS + DRAW_ROW] * K4;
//# else
  let source = row * K4;
//# end
  // As rms_norm does it, addition by addition.
  var sum = 0.0;
  for (var e = lane; e < K4; e += LANES) {
    let v = x[source + e];
    sum += dot(v, v);
  }
  let scale = row_inverse_rms(lane, sum, ${K}.0);
  for (var span = lane; span < SPANS; span += LANES) {
    store_span(
      row * SPANS + span,
//# for i in 0..8
      x[source + span * 8u + ${i}u] * scale * norm[span * 8u + ${i}u],
//# end
    );
  }
}
