alias KvLoad = vec4<f32>;
fn kv_quad0(w: KvLoad) -> vec4<f32> { return w; }
