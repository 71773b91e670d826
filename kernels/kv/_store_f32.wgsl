alias KvPair = vec2<u32>;

fn marks(value: vec2<f32>) -> vec2<u32> {
  let magnitude = bitcast<vec2<u32>>(value) & vec2(0x7fffffffu);
  return select(vec2(0u), vec2(0x7fc00000u), magnitude >= vec2(0x7f800000u));
}

fn pair_of(value: vec2<f32>, stored: vec2<u32>, is_finite: vec2<bool>) -> KvPair {
  return select(stored, bitcast<vec2<u32>>(value), is_finite);
}
