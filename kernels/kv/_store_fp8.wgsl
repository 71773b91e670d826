/// Codes of e4m3, nearest even, at most 448: rounds the f32 bits, or counts the subnormal steps.
fn encode(x: vec4<f32>) -> vec4<u32> {
  let size = min(abs(x), vec4(448.0));
  let bits = bitcast<vec4<u32>>(size);
  let normal = ((bits + 0x7ffffu + ((bits >> vec4(20u)) & vec4(1u))) >> vec4(20u)) - 960u;
  let subnormal = vec4<u32>(round(size * 512.0));
  let code = select(normal, subnormal, size < vec4(0.015625));
  return code | ((bitcast<vec4<u32>>(x) >> vec4(24u)) & vec4(0x80u));
}

fn word_of(a: vec4<f32>) -> u32 {
  let code = encode(a);
  return code.x | (code.y << 8u) | (code.z << 16u) | (code.w << 24u);
}
