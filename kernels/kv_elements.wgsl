// Loads of four consecutive elements of the KV pool as f32.
//# if KV_DTYPE == "f16"
alias Kv4 = vec2<u32>;
fn kv4(w: Kv4) -> vec4<f32> { return vec4(unpack2x16float(w.x), unpack2x16float(w.y)); }
//# else
alias Kv4 = vec4<f32>;
fn kv4(w: Kv4) -> vec4<f32> { return w; }
//# end
