// Loads from the KV pool: `kv_quad0(load)`, and with two LOAD_QUADS `kv_quad1(load)`, are four consecutive elements
// as f32, in quantized dtypes without their scale, which `kv_scale(load)` gives. Codes are unpacked to
// what costs least; KV_UNIT makes up for it.
//# if KV_DTYPE == "f16"
//# if LOAD_QUADS == 2
alias KvLoad = vec4<u32>;
fn kv_quad1(w: KvLoad) -> vec4<f32> { return vec4(unpack2x16float(w.z), unpack2x16float(w.w)); }
//# else
alias KvLoad = vec2<u32>;
//# end
fn kv_quad0(w: KvLoad) -> vec4<f32> { return vec4(unpack2x16float(w.x), unpack2x16float(w.y)); }
//# end
//# if KV_DTYPE == "f32"
alias KvLoad = vec4<f32>;
fn kv_quad0(w: KvLoad) -> vec4<f32> { return w; }
//# end
//# if KV_DTYPE == "int8"
alias KvLoad = u32;
const KV_UNIT: f32 = 1.0;
fn kv_quad0(w: KvLoad) -> vec4<f32> { return vec4<f32>(unpack4xI8(w)); }
//# end
//# if KV_DTYPE == "int4"
alias KvLoad = u32;
// Nibbles in the upper halves of bytes: sixteen times their value.
const KV_UNIT: f32 = 1.0 / 16.0;
fn kv_quad0(w: KvLoad) -> vec4<f32> { return vec4<f32>(unpack4xI8((w << 4u) & 0xf0f0f0f0u)); }
fn kv_quad1(w: KvLoad) -> vec4<f32> { return vec4<f32>(unpack4xI8(w & 0xf0f0f0f0u)); }
//# end
//# if KV_DTYPE == "fp8"
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
//# end
//# if KV_SCALED
fn kv_scale(w: KvLoad) -> f32 { return bitcast<f32>(w) * KV_UNIT; }
//# end
