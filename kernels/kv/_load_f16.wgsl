//# if LOAD_QUADS == 2
alias KvLoad = vec4<u32>;
fn kv_quad1(w: KvLoad) -> vec4<f32> { return vec4(unpack2x16float(w.z), unpack2x16float(w.w)); }
//# else
alias KvLoad = vec2<u32>;
//# end
fn kv_quad0(w: KvLoad) -> vec4<f32> { return vec4(unpack2x16float(w.x), unpack2x16float(w.y)); }
