// norm_add: a norm after a block, whose result is added to the residual (Gemma 2, 2408.00118;
// OLMo 2, 2501.00656).
//
//   y[t, e] += SCALE * x[t, e] / sqrt(mean(x[t, :]^2) + EPS) * weight[e]
//
// T tokens, E hidden.
//   0 step    u32 packed metadata (step.ts)
//   1 x       f32 [T, E]
//   2 weight  f32 [E]
//   3 y       f32 [T, E], the residual
// Dispatch: (T, 1, 1), one workgroup of LANES lanes per row.
// Reference: norm_add.ts; what is added is off by less than 1e-5 relative.

const E4: u32 = ${E / 4}u;
const LANES: u32 = ${LANES}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn norm_add(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  if (workgroup_id.x >= step[STEP_NUM_TOKENS]) { return; }
  let row = workgroup_id.x * E4;
  var sum = 0.0;
  for (var e = lane; e < E4; e += LANES) {
    let v = x[row + e];
    sum += dot(v, v);
  }
//# if SCALE == 1
  let scale = row_inverse_rms(lane, sum, ${E}.0);
//# else
  let scale = row_inverse_rms(lane, sum, ${E}.0) * f32(${SCALE});
//# end
  for (var e = lane; e < E4; e += LANES) { y[row + e] += x[row + e] * scale * weight[e]; }
}
