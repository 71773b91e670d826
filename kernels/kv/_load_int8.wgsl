alias KvLoad = u32;
const KV_UNIT: f32 = 1.0;
fn kv_quad0(w: KvLoad) -> vec4<f32> { return vec4<f32>(unpack4xI8(w)); }
