// The range of logits: LOWEST <= logit < HIGHEST, or -infinity. NaN, +infinity and what is as
// large as HIGHEST are overflows of the model. Told by bits, since compilers may assume that no
// value is one.

/// Below every logit that may be drawn; the logit of a banned token.
const LOWEST: f32 = -3.4e38;
/// Above every logit; no token has it.
const HIGHEST: f32 = 3.4e38;
const HIGHEST_BITS: u32 = 0x7f7fc99eu;
/// The largest logit that an adjustment makes.
const LARGEST_ADJUSTED: f32 = 3.3e38;
const NEGATIVE_INFINITY: u32 = 0xff800000u;

/// Whether these bits of an f32 are NaN or not below HIGHEST.
fn is_overflow(bits: u32) -> bool {
  return bits > NEGATIVE_INFINITY || (bits >= HIGHEST_BITS && bits < 0x80000000u);
}
