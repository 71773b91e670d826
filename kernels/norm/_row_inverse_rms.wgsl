// Shared by the kernels that normalize rows, whose squares a workgroup's lanes sum up. The kernel
// declares LANES; all of its lanes call this.
var<workgroup> partial: array<f32, LANES>;

/// 1 / RMS, 1 / sqrt(mean of squares + EPS), of a row of `width` elements, from each lane's sum of
/// squares.
fn row_inverse_rms(lane: u32, sum: f32, width: f32) -> f32 {
  partial[lane] = sum;
  workgroupBarrier();  // every lane reads every partial sum
  var total = 0.0;
  for (var i = 0u; i < LANES; i++) { total += partial[i]; }
  return inverseSqrt(total / width + ${EPS});
}
