// Shared by the kernels that scan segments: one lane summarizes one segment.
// With REPORT, the sum of exp() is that of the logits as they are; else of the draw's.

/// Writes the summary that a draw, or a report, needs of segment `segment` of row `r`.
fn put_segment(r: u32, segment: u32, draw: u32) {
  let row = r * args.V;
  let first = first_token(segment);
  let end = end_token(segment);
  var best = Best(LOWEST, NO_TOKEN);
  var has_overflow = false;
  for (var t = first; t < end; t += SEGMENT_LANES) {
    let logit = logits[row + t];
    has_overflow = has_overflow || is_overflow(bitcast<u32>(logit));
    if (logit > best.value) { best = Best(logit, t); }
  }
  if (has_overflow) { best = Best(HIGHEST, NO_TOKEN); }
  let out = r * SEGMENT_PLANES * args.Z + segment;
  segments[out + SEGMENT_MAX * args.Z] = bitcast<u32>(best.value);
  segments[out + SEGMENT_TOKEN * args.Z] = best.token;

  //# if REPORT
  segments[out + SEGMENT_WEIGHT * args.Z] = bitcast<u32>(weigh(row, first, end, best.value, 1.0));
  //# else
  let temperature = bitcast<f32>(step[draw + DRAW_TEMPERATURE]);
  if (!(temperature > 0.0) || !is_whole(draw)) { return; }
  if (best.token == NO_TOKEN) {
    segments[out + SEGMENT_SCORE * args.Z] = bitcast<u32>(LOWEST);
    segments[out + SEGMENT_WEIGHT * args.Z] = 0u;
    return;
  }
  var highest = Best(LOWEST, NO_TOKEN);
  for (var t = first; t < end; t += SEGMENT_LANES) {
    let score = (logits[row + t] - best.value) / temperature + gumbel(draw, t);
    if (score > highest.value) { highest = Best(score, t); }
  }
  segments[out + SEGMENT_TOKEN * args.Z] = highest.token;
  segments[out + SEGMENT_SCORE * args.Z] = bitcast<u32>(highest.value);
  if (bitcast<f32>(step[draw + DRAW_TOP_P]) < 1.0) {
    let weight = weigh(row, first, end, best.value, 1.0 / temperature);
    segments[out + SEGMENT_WEIGHT * args.Z] = bitcast<u32>(weight);
  }
  //# end
}

fn weigh(row: u32, first: u32, end: u32, max_logit: f32, inverse_t: f32) -> f32 {
  var weight = 0.0;
  for (var t = first; t < end; t += SEGMENT_LANES) {
    weight += exp((logits[row + t] - max_logit) * inverse_t);
  }
  return weight;
}
