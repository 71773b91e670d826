// Loads of consecutive weights as f32, whatever their type in memory. The kernel declares
//   w     array<Weight>, rows of K4 fours, or for a quantized type QuantizedLayout's words
//   K4    u32, the row length in fours
// and says how many fours it wants at once:
//   LOAD 1   weight4(row, k4)
//   LOAD 2   weight8(row, k4), k4 and K4 even: 16 bytes of f16, the widest load of a lane
// f16 goes through unpack2x16float, which every adapter has; bf16 is the upper half of an f32.
// Of quantized weights there are parts, for sums that are scaled once per group:
//   code4, code8         the codes, with the zero of a format without minima taken off
//   group_scale(row, k4) the scale of the group, with the minimum where WEIGHT_MINIMUM
//# if LOAD == 2
struct Weight8 { first: vec4<f32>, second: vec4<f32> }
//# end
//# if WEIGHT_BITS > 0
alias Weight = u32;
//# if WEIGHT_BITS == 8
fn code4(row: u32, k4: u32) -> vec4<f32> {
  let word = w[row * ${WEIGHT_ROW}u + k4];
//# if WEIGHT_MINIMUM
  return vec4<f32>(unpack4xU8(word));
//# else
  return vec4<f32>(unpack4xI8(word));
//# end
}
//# if LOAD == 2
fn code8(row: u32, k4: u32) -> Weight8 { return Weight8(code4(row, k4), code4(row, k4 + 1u)); }
//# end
//# else
// Inputs 0 to 3 of a word are the low halves of its bytes, 4 to 7 the high ones.
fn low_halves(word: u32) -> vec4<f32> {
  return vec4<f32>(unpack4xU8(word & 0x0f0f0f0fu)) - ${WEIGHT_MINIMUM ? 0 : 8}.0;
}
//# if LOAD == 2
fn code8(row: u32, k4: u32) -> Weight8 {
  let word = w[row * ${WEIGHT_ROW}u + (k4 >> 1u)];
  return Weight8(low_halves(word), low_halves(word >> 4u));
}
//# else
fn code4(row: u32, k4: u32) -> vec4<f32> {
  return low_halves(w[row * ${WEIGHT_ROW}u + (k4 >> 1u)] >> ((k4 & 1u) << 2u));
}
//# end
//# end
//# if WEIGHT_MINIMUM
fn group_scale(row: u32, k4: u32) -> vec2<f32> {
  let group = k4 / ${WEIGHT_GROUP / 4}u;
  return unpack2x16float(w[${WEIGHT_SCALES}u + row * ${WEIGHT_SCALE_ROW}u + group]);
}
//# else
fn group_scale(row: u32, k4: u32) -> f32 {
  let group = k4 / ${WEIGHT_GROUP / 4}u;
  let pair = w[${WEIGHT_SCALES}u + row * ${WEIGHT_SCALE_ROW}u + (group >> 1u)];
  return unpack2x16float(pair >> ((group & 1u) << 4u)).x;
}
//# end
//# if LOAD == 1
fn weight4(row: u32, k4: u32) -> vec4<f32> {
  let scale = group_scale(row, k4);
//# if WEIGHT_MINIMUM
  return code4(row, k4) * scale.x + scale.y;
//# else
  return code4(row, k4) * scale;
//# end
}
//# end
//# else
//# if WEIGHT_DTYPE == "f32"
alias Weight = vec4<f32>;
fn weight4(row: u32, k4: u32) -> vec4<f32> { return w[row * K4 + k4]; }
//# if LOAD == 2
fn weight8(row: u32, k4: u32) -> Weight8 {
  return Weight8(weight4(row, k4), weight4(row, k4 + 1u));
}
//# end
//# else
//# if WEIGHT_DTYPE == "f16"
fn widened(words: vec2<u32>) -> vec4<f32> {
  return vec4(unpack2x16float(words.x), unpack2x16float(words.y));
}
//# else
fn widened(words: vec2<u32>) -> vec4<f32> {
  let halves = vec4(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u);
  return bitcast<vec4<f32>>(halves);
}
//# end
//# if LOAD == 2
alias Weight = vec4<u32>;
fn weight8(row: u32, k4: u32) -> Weight8 {
  let words = w[row * (K4 / 2u) + (k4 >> 1u)];
  return Weight8(widened(words.xy), widened(words.zw));
}
//# else
alias Weight = vec2<u32>;
fn weight4(row: u32, k4: u32) -> vec4<f32> { return widened(w[row * K4 + k4]); }
//# end
//# end
//# end
