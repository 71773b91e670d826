alias KvPair = u32;

/// From 65,520 on, numbers are rounded to infinity.
fn marks(value: vec2<f32>) -> vec2<u32> {
  let magnitude = bitcast<vec2<u32>>(value) & vec2(0x7fffffffu);
  let too_large = select(vec2(0u), vec2(0x7fffu), magnitude >= vec2(0x477ff000u));
  return select(too_large, vec2(0x7e00u), magnitude > vec2(0x7f800000u));
}

fn pair_of(value: vec2<f32>, stored: vec2<u32>, is_finite: vec2<bool>) -> KvPair {
  return pack2x16float(select(vec2(0.0), value, is_finite)) | stored.x | (stored.y << 16u);
}
