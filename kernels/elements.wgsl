// Loads of four consecutive weights as f32, whatever their type in memory. The kernel declares
//   w     array<Weight4>, rows of K4 elements
//   K4    u32, the row length in fours
// f16 goes through unpack2x16float, which every adapter has; bf16 is the upper half of an f32.
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
