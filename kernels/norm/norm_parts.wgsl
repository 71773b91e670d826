// norm_parts: RMSNorm in place of one or two parts of each row, side by side from its start: all
// queries of a row together, and all of its keys (OLMo 2, 2501.00656).
//
//   rows[t, f + i] = rows[t, f + i] / sqrt(mean(rows[t, f .. f + L]^2) + EPS) * weight[f + i]
//   f = 0 and L = FIRST, or f = FIRST and L = SECOND
//
// T tokens; FIRST, SECOND and STRIDE are multiples of 4.
//   0 step    u32 packed metadata (step.ts)
//   1 weight  f32 [FIRST + SECOND]
//   2 rows    f32 [T, STRIDE]
// Dispatch: (T, 1 or 2, 1), one workgroup of LANES lanes per part of a row.
// Reference: norm_parts.ts; relative error below 1e-5.

const LANES: u32 = ${LANES}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> rows: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn norm_parts(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  if (workgroup_id.x >= step[STEP_NUM_TOKENS]) { return; }
  let first = workgroup_id.y * ${FIRST / 4}u;
  let end = ${FIRST / 4}u + workgroup_id.y * ${SECOND / 4}u;
  let row = workgroup_id.x * ${STRIDE / 4}u;
  var sum = 0.0;
  for (var e = first + lane; e < end; e += LANES) {
    let v = rows[row + e];
    sum += dot(v, v);
  }
  let scale = row_inverse_rms(lane, sum, select(${FIRST}.0, ${SECOND}.0, workgroup_id.y == 1u));
  for (var e = first + lane; e < end; e += LANES) {
    rows[row + e] = rows[row + e] * scale * weight[e];
  }
}
