// top_logprobs: log-probabilities of a row's likeliest tokens, before any adjustment.
//
//   log_total = log(sum(exp(logits))); the NUM_LOGPROBS - 1 likeliest tokens, lowest id on a tie,
//   each with its logit - log_total
//
// R rows, V vocabulary, Z segments (_segments.wgsl).
//   0 step      u32 packed metadata (step.ts)
//   1 logits    f32 [R, V]
//   2 segments  u32 [R, SEGMENT_PLANES, Z], from sample_segments with REPORT, or with FUSED written
//               here first; the largest are taken out
//   3 sampled   u32 [, SAMPLED_WORDS], from the row of the step's first draw on: log_total where
//               the chosen token's log-probability will be (sample_tokens.wgsl), then pairs (token,
//               log-probability)
// Dispatch: (R, 1, 1), one workgroup of LANES lanes per row; rows that ask for none are passed
// over.
// Method: a tournament: the winner's segment alone is searched for its next largest.
// Reference: top_logprobs.ts; the same tokens, 2e-5.

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> segments: array<u32>;
@group(0) @binding(3) var<storage, read_write> sampled: array<u32>;

@compute @workgroup_size(LANES)
fn top_logprobs(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let draw = step[STEP_DRAWS] + workgroup_id.x * DRAW_WORDS;
  let wanted = step[draw + DRAW_NUM_LOGPROBS];
  if (wanted == 0u) { return; }
  //# if FUSED
  for (var s = lane; s < num_segments(); s += LANES) { put_segment(workgroup_id.x, s, draw); }
  storageBarrier();  // all segments are summed up
  workgroupBarrier();
  //# end
  let base = workgroup_id.x * SEGMENT_PLANES * args.Z;
  let out = (step[STEP_FIRST_DRAW] + workgroup_id.x) * SAMPLED_WORDS;
  var last = best_segment(lane, base);
  let log_total = last.value + log(total(lane, base, last.value));
  if (lane == 0u) { sampled[out + SAMPLED_LOGPROB] = bitcast<u32>(log_total); }
  for (var i = 0u; i + 1u < wanted; i++) {
    if (lane == 0u) {
      sampled[out + SAMPLED_TOP + 2u * i] = last.token;
      sampled[out + SAMPLED_TOP + 2u * i + 1u] = bitcast<u32>(last.value - log_total);
    }
    if (i + 2u < wanted) {
      take_out(lane, workgroup_id.x * args.V, base, last);
      last = best_segment(lane, base);
    }
  }
}

fn best_segment(lane: u32, base: u32) -> Best {
  var mine = Best(LOWEST, NO_TOKEN);
  for (var s = lane; s < num_segments(); s += LANES) {
    let max_logit = bitcast<f32>(segments[base + SEGMENT_MAX * args.Z + s]);
    mine = better(mine, Best(max_logit, segments[base + SEGMENT_TOKEN * args.Z + s]));
  }
  return reduce_best(lane, mine);
}

fn total(lane: u32, base: u32, max_logit: f32) -> f32 {
  var weight = 0.0;
  for (var s = lane; s < num_segments(); s += LANES) {
    weight += bitcast<f32>(segments[base + SEGMENT_WEIGHT * args.Z + s]) *
      exp(bitcast<f32>(segments[base + SEGMENT_MAX * args.Z + s]) - max_logit);
  }
  return reduce_sum(lane, weight);
}

/// Puts the largest after `last`, in (value down, token up) order, in the place of `last`'s
/// segment.
fn take_out(lane: u32, row: u32, base: u32, last: Best) {
  let token = min(last.token, args.V - 1u);
  let segment = token / (SEGMENT_LANES * args.SEGMENT) * SEGMENT_LANES + token % SEGMENT_LANES;
  var mine = Best(LOWEST, NO_TOKEN);
  for (var t = first_token(segment) + lane * SEGMENT_LANES; t < end_token(segment);
    t += SEGMENT_LANES * LANES) {
    let logit = logits[row + t];
    if (logit < last.value || (logit == last.value && t > last.token)) {
      mine = better(mine, Best(logit, t));
    }
  }
  let next = reduce_best(lane, mine);
  if (lane == 0u) {
    segments[base + SEGMENT_MAX * args.Z + segment] = bitcast<u32>(next.value);
    segments[base + SEGMENT_TOKEN * args.Z + segment] = next.token;
  }
  storageBarrier();  // the next round reads what lane 0 has written
  workgroupBarrier();
}
