alias KvLoad = u32;
// Nibbles n in the upper halves of bytes, and half a step more: sixteen times c = n + 1/2, of which
// the level is c + c^3 / 128.
const KV_UNIT: f32 = 1.0 / 16.0;
fn levels(nibbles: u32) -> vec4<f32> {
  let c = vec4<f32>(unpack4xI8((nibbles & 0xf0f0f0f0u) | 0x08080808u));
  return c + c * c * c * ${1 / 128 / 256};
}
fn kv_quad0(w: KvLoad) -> vec4<f32> { return levels(w << 4u); }
fn kv_quad1(w: KvLoad) -> vec4<f32> { return levels(w); }
