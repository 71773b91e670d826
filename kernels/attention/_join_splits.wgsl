// How the splits of a context are joined, one after the other in the order of their positions: the same
// numbers come of it whether paged_attention_reduce or a prefill's lane does it.
//
//   P' = max(P, peak_m),  total' = total * exp(P - P') + total_m * exp(peak_m - P'),  out' likewise
//
// One step of the online softmax (Milakov 2018, 1805.02867), over splits in place of positions.

/// Factors of what was joined before and of the split that joins it: one of them is 1.
fn join_factors(peak: f32, split_peak: f32) -> vec2<f32> {
  let fading = exp(-abs(split_peak - peak));
  return select(vec2(1.0, fading), vec2(fading, 1.0), split_peak > peak);
}

fn join_totals(total: f32, split_total: f32, factors: vec2<f32>) -> f32 {
  return total * factors.x + split_total * factors.y;
}

fn join_parts(out: vec4<f32>, part: vec4<f32>, factors: vec2<f32>) -> vec4<f32> {
  return out * factors.x + part * factors.y;
}

