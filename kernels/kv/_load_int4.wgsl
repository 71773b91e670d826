alias KvLoad = u32;
// Nibbles in the upper halves of bytes: sixteen times their value.
const KV_UNIT: f32 = 1.0 / 16.0;
fn kv_quad0(w: KvLoad) -> vec4<f32> { return vec4<f32>(unpack4xI8((w << 4u) & 0xf0f0f0f0u)); }
fn kv_quad1(w: KvLoad) -> vec4<f32> { return vec4<f32>(unpack4xI8(w & 0xf0f0f0f0u)); }
