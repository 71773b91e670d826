/// Of each element, how many of the seven middles between its sign's levels it passes: 0 to 7.
fn steps(size: vec4<f32>) -> vec4<u32> {
  var count = vec4(0u);
//# for k in 1..8
  count += select(vec4(0u), vec4(1u), size >= vec4(${k * 515 / 512 + k * k * k / 128}));
//# end
  return count;
}

/// The level nearest to each element.
fn level(x: vec4<f32>) -> vec4<f32> {
  let half_steps = vec4<f32>(steps(abs(x))) + 0.5;
  let size = half_steps * (1.0 + half_steps * half_steps * ${1 / 128});
  return select(size, -size, x < vec4(0.0));
}

/// Nibbles in two's complement: n of a level that is not negative, -1 - n of one that is.
fn encode(x: vec4<f32>) -> u32 {
  let count = steps(abs(x));
  return pack4xU8(select(count, vec4(15u) - count, x < vec4(0.0)));
}

fn word_of(a: vec4<f32>, b: vec4<f32>) -> u32 { return encode(a) | (encode(b) << 4u); }
