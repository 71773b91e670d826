// cast_rows_f16: rows of activations as f16, each divided by a power of two that brings it into
// range.
//
//   scales[r]    = 2^(e - 14),  2^e <= max_k |x[r, k]| < 2^(e + 1);  e at least -112
//   halves[r, k] = f16(x[r, k] / scales[r])
//
// The largest magnitude of a row comes to lie in [2^14, 2^15): f16 ends at 65,504, which
// activations pass, and loses bits below 2^-14, which is 2^-28 of that magnitude. The division is
// exact.
//
// R rows, K inputs, a multiple of 4.
//   0 step    u32 packed metadata (step.ts)
//   1 x       f32 [R, K]
//   2 halves  f16 [R, K]
//   3 scales  f32 [R]
// Dispatch: (R, 1, 1), one workgroup of LANES lanes per row.
// Reference: cast_rows_f16.ts; scales are exact, and halves * scales differs from x by at most
// 2^-10 |x| + 2^-28 max |x| of the row, whichever way the device rounds.

const K4: u32 = ${K / 4}u;
const LANES: u32 = ${LANES}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> halves: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read_write> scales: array<f32>;

var<workgroup> lane_absmax: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn cast_rows_f16(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = workgroup_id.x;
  if (row >= step[${ROWS_WORD}u]) { return; }
  var fours = vec4<f32>();
  for (var k = lane; k < K4; k += LANES) { fours = max(fours, abs(x[row * K4 + k])); }
  lane_absmax[lane] = max(max(fours.x, fours.y), max(fours.z, fours.w));
  workgroupBarrier();  // every lane reads every absmax
  var absmax = 0.0;
  for (var i = 0u; i < LANES; i++) { absmax = max(absmax, lane_absmax[i]); }
  // The exponent as f32 holds it, e + 127; that of infinity counts as the largest of a number.
  let exponent = clamp(bitcast<u32>(absmax) >> 23u, 15u, 254u);
  let inverse = bitcast<f32>((268u - exponent) << 23u);
  if (lane == 0u) { scales[row] = bitcast<f32>((exponent - 14u) << 23u); }
  for (var k = lane; k < K4; k += LANES) {
    halves[row * K4 + k] = vec4<f16>(x[row * K4 + k] * inverse);
  }
}
