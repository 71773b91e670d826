fn word_of(a: vec4<f32>) -> u32 {
  return pack4xI8(vec4<i32>(clamp(round(a), vec4(-${CODE_MAX}.0), vec4(${CODE_MAX}.0))));
}
