alias KvLoad = u32;
// e4m3's exponent read as that of f16 is 8 too small, subnormal values included.
const KV_UNIT: f32 = 256.0;
fn e4m3_pair(bytes: u32) -> vec2<f32> {
  return unpack2x16float(((bytes & 0x00800080u) << 8u) | ((bytes & 0x007f007fu) << 7u));
}
fn kv_quad0(w: KvLoad) -> vec4<f32> {
  let even = e4m3_pair(w);
  let odd = e4m3_pair(w >> 8u);
  return vec4(even.x, odd.x, even.y, odd.y);
}
