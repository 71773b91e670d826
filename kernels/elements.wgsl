// Loads of consecutive weights as f32, whatever their type in memory. The kernel declares
//   w     array<Weight>, rows of K4 fours
//   K4    u32, the row length in fours
// and says how many fours it wants at once:
//   LOAD 1   weight4(row, k4)
//   LOAD 2   weight8(row, k4), k4 and K4 even: 16 bytes of f16, the widest load of a lane
// f16 goes through unpack2x16float, which every adapter has; bf16 is the upper half of an f32.
//# if LOAD == 2
struct Weight8 { first: vec4<f32>, second: vec4<f32> }
//# end
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
