fn encode(x: vec4<f32>) -> u32 {
  return pack4xI8(vec4<i32>(clamp(round(x), vec4(-${CODE_MAX}.0), vec4(${CODE_MAX}.0))));
}

fn word_of(a: vec4<f32>, b: vec4<f32>) -> u32 {
  return (encode(a) & 0x0f0f0f0fu) | ((encode(b) & 0x0f0f0f0fu) << 4u);
}
