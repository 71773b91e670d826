//# if KV_SCALED
fn kv_scale(w: KvLoad) -> f32 { return bitcast<f32>(w) * KV_UNIT; }
//# end
