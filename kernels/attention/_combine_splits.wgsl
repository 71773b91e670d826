// Combines the splits of a context, one after the other in the order of their positions. The result
// has the same bits in paged_attention_combine and in a prefill.
//
//   P' = max(P, max_m),  total' = total * exp(P - P') + total_m * exp(max_m - P'),  out' likewise
//
// One step of the online softmax (Milakov 2018, 1805.02867), over splits in place of positions.

/// Factors of what is combined so far and of the next split: one of them is 1.
fn rescale_factors(max_score: f32, split_max: f32) -> vec2<f32> {
  let rescale = exp(-abs(split_max - max_score));
  return select(vec2(1.0, rescale), vec2(rescale, 1.0), split_max > max_score);
}

fn combine_totals(total: f32, split_total: f32, factors: vec2<f32>) -> f32 {
  return total * factors.x + split_total * factors.y;
}

fn combine_outputs(out: vec4<f32>, partial: vec4<f32>, factors: vec2<f32>) -> vec4<f32> {
  return out * factors.x + partial * factors.y;
}

