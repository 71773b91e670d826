// pool_rows: sums of runs of rows, for vectors of whole prompts.
//
//   out[p, e] += sum over the run's rows r, first to last, of x[r, e]
//
// T rows, B runs, E elements.
//   0 step  u32 packed metadata (step.ts)
//   1 x     f32 [T, E]
//   2 out   f32 [B, E], what is added to: zeros, or the sum of the rows before
// Dispatch: (ceil(E / LANES), B, 1), LANES lanes each.
// Method: a lane per element adds its rows in order, so that a sum has the same bits however its
// rows are cut into steps.
// Reference: pool_rows.ts; the same bits.

const LANES: u32 = ${LANES}u;
const E: u32 = ${E}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(LANES)
fn pool_rows(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let e = workgroup_id.x * LANES + lane;
  if (e >= E || workgroup_id.y >= step[STEP_NUM_POOLINGS]) { return; }
  let pool = step[STEP_POOLINGS] + workgroup_id.y * POOLING_WORDS;
  let first = step[pool + POOLING_FIRST_ROW];
  let end = first + step[pool + POOLING_NUM_ROWS];
  var sum = out[workgroup_id.y * E + e];
  for (var row = first; row < end; row++) { sum += x[row * E + e]; }
  out[workgroup_id.y * E + e] = sum;
}
