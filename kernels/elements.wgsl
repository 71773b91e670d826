// Loads of four consecutive elements as f32, whatever their type in memory.
// f16 goes through unpack2x16float, which every adapter has; bf16 is the upper half of an f32.
//# if WEIGHT_DTYPE == "f32"
alias Weight4 = vec4<f32>;
fn weight4(w: Weight4) -> vec4<f32> { return w; }
//# end
//# if WEIGHT_DTYPE == "f16"
alias Weight4 = vec2<u32>;
fn weight4(w: Weight4) -> vec4<f32> { return vec4(unpack2x16float(w.x), unpack2x16float(w.y)); }
//# end
//# if WEIGHT_DTYPE == "bf16"
alias Weight4 = vec2<u32>;
fn weight4(w: Weight4) -> vec4<f32> {
  return bitcast<vec4<f32>>(
    vec4(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u));
}
//# end
