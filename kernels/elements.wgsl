// Loads of four consecutive weights as f32, whatever their type in memory. The kernel declares
//   w     array<Weight4>, rows of K4 elements, or for a quantized type QuantizedLayout's words
//   K4    u32, the row length in fours
// f16 goes through unpack2x16float, which every adapter has; bf16 is the upper half of an f32.
//
//   weight4(row, k4)          the weights
//   code4(row, k4)            quantized: the codes, for sums that are scaled once per group
//   group_scale(row, k4)      quantized: their scale, and the minimum where WEIGHT_MINIMUM
//# if WEIGHT_DTYPE == "f32"
alias Weight4 = vec4<f32>;
fn weight4(row: u32, k4: u32) -> vec4<f32> { return w[row * K4 + k4]; }
//# end
//# if WEIGHT_DTYPE == "f16"
alias Weight4 = vec2<u32>;
fn weight4(row: u32, k4: u32) -> vec4<f32> {
  let four = w[row * K4 + k4];
  return vec4(unpack2x16float(four.x), unpack2x16float(four.y));
}
//# end
//# if WEIGHT_DTYPE == "bf16"
alias Weight4 = vec2<u32>;
fn weight4(row: u32, k4: u32) -> vec4<f32> {
  let four = w[row * K4 + k4];
  return bitcast<vec4<f32>>(
    vec4(four.x << 16u, four.x & 0xffff0000u, four.y << 16u, four.y & 0xffff0000u));
}
//# end
//# if WEIGHT_BITS > 0
alias Weight4 = u32;
//# if WEIGHT_BITS == 8
fn code4(row: u32, k4: u32) -> vec4<f32> {
  let word = w[row * ${WEIGHT_ROW}u + k4];
//# if WEIGHT_MINIMUM
  return vec4<f32>(unpack4xU8(word));
//# else
  return vec4<f32>(unpack4xI8(word));
//# end
}
//# else
// Inputs 0 to 3 of a word are the low halves of its bytes, 4 to 7 the high ones.
fn code4(row: u32, k4: u32) -> vec4<f32> {
  let word = w[row * ${WEIGHT_ROW}u + (k4 >> 1u)] >> ((k4 & 1u) << 2u);
  let codes = vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu));
//# if WEIGHT_MINIMUM
  return codes;
//# else
  return codes - 8.0;
//# end
}
//# end
//# if WEIGHT_MINIMUM
fn group_scale(row: u32, k4: u32) -> vec2<f32> {
  return unpack2x16float(w[${WEIGHT_SCALES}u + row * ${WEIGHT_SCALE_ROW}u + k4 / ${WEIGHT_GROUP / 4}u]);
}
fn weight4(row: u32, k4: u32) -> vec4<f32> {
  let scale = group_scale(row, k4);
  return code4(row, k4) * scale.x + scale.y;
}
//# else
fn group_scale(row: u32, k4: u32) -> f32 {
  let group = k4 / ${WEIGHT_GROUP / 4}u;
  let pair = w[${WEIGHT_SCALES}u + row * ${WEIGHT_SCALE_ROW}u + (group >> 1u)];
  return unpack2x16float(pair >> ((group & 1u) << 4u)).x;
}
fn weight4(row: u32, k4: u32) -> vec4<f32> { return code4(row, k4) * group_scale(row, k4); }
//# end
//# end
