// Shared by quantize_rows and norm_quantize: 32 inputs of a row as int8 codes and their scale.
//
//   absmax = max |x[i]|
//   scale  = absmax * (1 / 127)
//   code   = round(x[i] * (127 / absmax)), ties to even
//
// 127 / absmax may be off by 2.5 units in the last place, which moves a code by one only where the
// exact multiple lies that close to a half. An absmax below SMALLEST, whose reciprocal might
// overflow, counts as 0. The kernel declares codes, array<vec4<u32>>, two per span, and scales,
// array<f32>.

const SMALLEST: f32 = 1e-30;

/// Stores eight fours of inputs as the codes and the scale of `span`, counted over all rows.
fn store_span(
  span: u32,
//# for i in 0..8
  v${i}: vec4<f32>,
//# end
) {
  let fours = max(
    max(max(abs(v0), abs(v1)), max(abs(v2), abs(v3))),
    max(max(abs(v4), abs(v5)), max(abs(v6), abs(v7))),
  );
  let absmax = max(max(fours.x, fours.y), max(fours.z, fours.w));
  var inverse = 0.0;
  var scale = 0.0;
  if (absmax >= SMALLEST) {
    inverse = 127.0 / absmax;
    scale = absmax * ${1 / 127};
  }
  scales[span] = scale;
  codes[2u * span] = vec4(
    code4(v0 * inverse), code4(v1 * inverse), code4(v2 * inverse), code4(v3 * inverse));
  codes[2u * span + 1u] = vec4(
    code4(v4 * inverse), code4(v5 * inverse), code4(v6 * inverse), code4(v7 * inverse));
}

/// Four codes in the bytes of a word, the first lowest.
fn code4(multiples: vec4<f32>) -> u32 { return pack4xI8(vec4<i32>(round(multiples))); }
