/// Sums of squares of a workgroup's lanes. The kernel declares LANES, the lanes of a head, which
/// lie side by side in one workgroup.
var<workgroup> squares: array<f32, ${WORKGROUP}>;

/// 1 / RMS of the head that lane `local` belongs to, from each lane's share of its squares.
fn inverse_rms(local: u32, share: f32) -> f32 {
  squares[local] = share;
  workgroupBarrier();  // every lane's share is there
  let first = local - local % LANES;
  var sum = 0.0;
  for (var i = 0u; i < LANES; i++) { sum += squares[first + i]; }
  return inverseSqrt(sum / ${D}.0 + ${NORM_EPS});
}
