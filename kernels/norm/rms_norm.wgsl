// rms_norm: root-mean-square normalization of rows (Zhang 2019, 1910.07467).
//
//   out[r, e] = x[s, e] / sqrt(mean(x[s, :]^2) + EPS) * weight[e]
//   s = r, or the row of draw r when GATHER
//
// R rows, E hidden.
//   0 step    u32 packed metadata (step.ts)
//   1 x       f32 [T, E]
//   2 weight  f32 [E]
//   3 out     f32 [R, E]
// Dispatch: (R, 1, 1), one workgroup of LANES lanes per row.
// Reference: rms_norm.ts; relative error below 1e-5.

const E4: u32 = ${E / 4}u;
const LANES: u32 = ${LANES}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn rms_norm(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = workgroup_id.x;
//# if GATHER
  let source = step[step[STEP_DRAWS] + row * DRAW_WORDS + DRAW_ROW];
//# else
  let source = row;
//# end
  var sum = 0.0;
  for (var e = lane; e < E4; e += LANES) {
    let v = x[source * E4 + e];
    sum += dot(v, v);
  }
  let scale = row_inverse_rms(lane, sum, ${E}.0);
  for (var e = lane; e < E4; e += LANES) {
    out[row * E4 + e] = x[source * E4 + e] * scale * weight[e];
  }
}
