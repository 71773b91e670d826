// sample_tokens: the last phase of drawing, one token per row from the summaries of its segments.
//
//   a row with a logit that has overflowed (_logit_range.wgsl), or none above LOWEST: NO_TOKEN
//   a row with a forced token: that one, for its log-probability
//   greedy (temperature 0): the largest logit, lowest id on a tie
//   else: z = logits / temperature; keep z >= max z + log(min_p); of those the top_k largest (ties
//   at the border stay); of those the smallest set of largest whose weight reaches top_p of theirs
//   (Holtzman 2019, 1904.09751); draw among them by the Gumbel-max trick: argmax z + g,
//   g = -log(-log u), u = hash(seed, output index, token). A draw so depends on nothing else.
//   Its log-probability is that of the logits before they were adjusted, tempered and filtered.
//
// R rows, V vocabulary, Z segments (_segments.wgsl).
//   0 step      u32 packed metadata (step.ts), entries with their own logits (adjust_logits.wgsl)
//   1 logits    f32 [R, V]
//   2 segments  u32 [R, SEGMENT_PLANES, Z], from sample_segments; with FUSED, written here first
//   3 sampled   u32 [, SAMPLED_WORDS], from the row of the step's first draw on: the token; where
//               log-probabilities are asked for, the logarithm of the sum of exp(logits) becomes
//               the token's log-probability
// Dispatch: (R, 1, 1), one workgroup of LANES lanes per row.
// Method: a pass over the row looks only into segments whose largest logit reaches the border at
// hand. The top_k border is found by bisection over the bits of logits in an order-preserving
// integer form. The nucleus needs no border: its tokens are those with less than top_p of the
// weight above them, so the token of the best score is drawn if that holds, and else all tokens up
// to it are outside, and the best of the others is next; every try but the last shrinks what is
// left, and with top_p of the weight inside, 1 / top_p tries are expected.
// Hash: pcg4d (Jarzynski and Olano 2020, "Hash Functions for GPU Rendering").
// Reference: sample_tokens.ts; the same token unless two candidates are within 1e-5.

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> segments: array<u32>;
@group(0) @binding(3) var<storage, read_write> sampled: array<u32>;

/// A row's offsets and constants, the same in all of its lanes.
struct Row {
  logits: u32,
  segments: u32,
  draw: u32,
  max: f32,
  inverse_t: f32,
}

@compute @workgroup_size(LANES)
fn sample_tokens(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let draw = step[STEP_DRAWS] + workgroup_id.x * DRAW_WORDS;
  //# if FUSED
  for (var s = lane; s < num_segments(); s += LANES) { put_segment(workgroup_id.x, s, draw); }
  storageBarrier();  // all segments are summed up
  workgroupBarrier();
  //# end
  let temperature = bitcast<f32>(step[draw + DRAW_TEMPERATURE]);
  var row = Row(workgroup_id.x * args.V, workgroup_id.x * SEGMENT_PLANES * args.Z, draw, LOWEST, 1.0);
  var mine = Best(LOWEST, NO_TOKEN);
  for (var s = lane; s < num_segments(); s += LANES) {
    let token = segments[row.segments + SEGMENT_TOKEN * args.Z + s];
    mine = better(mine, Best(segment_max(row, s), token));
  }
  let top = reduce_best(lane, mine);
  var chosen = top.token;
  let forced = step[draw + DRAW_FORCED];
  if (forced > 0u && top.token != NO_TOKEN) {
    chosen = forced - 1u;
  } else if (temperature > 0.0 && top.token != NO_TOKEN) {
    row.max = top.value;
    row.inverse_t = 1.0 / temperature;
    chosen = sample_token(lane, row);
  }
  let out = (step[STEP_FIRST_DRAW] + workgroup_id.x) * SAMPLED_WORDS;
  if (lane == 0u) { sampled[out + SAMPLED_TOKEN] = chosen; }
  if (step[draw + DRAW_NUM_LOGPROBS] > 0u) { put_logprob(lane, row, out, chosen); }
}

fn segment_max(row: Row, segment: u32) -> f32 {
  return bitcast<f32>(segments[row.segments + SEGMENT_MAX * args.Z + segment]);
}

/// Maps floats to integers of the same order.
fn order(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn sample_token(lane: u32, row: Row) -> u32 {
  let max_logit = order(row.max);
  let min_p = bitcast<f32>(step[row.draw + DRAW_MIN_P]);
  let top_k = step[row.draw + DRAW_TOP_K];
  let top_p = bitcast<f32>(step[row.draw + DRAW_TOP_P]);
  let whole = is_whole(row.draw);
  var lowest = 0u;
  if (min_p > 0.0) { lowest = order(row.max + log(min_p) / row.inverse_t); }
  if (top_k > 0u && top_k < args.V) { lowest = kth_largest(lane, row, top_k, lowest); }
  // The likeliest token always stays: rounding at a border must not drop it.
  lowest = min(lowest, max_logit);
  // Each call is compiled with a reduction of its own: first and further tries share theirs.
  var goal = 0.0;
  var chosen = NO_TOKEN;
  for (var tries = 0u; ; tries++) {
    if (tries > 0u) {
      let value = order(logits[row.logits + min(chosen, args.V - 1u)]);
      if (!(top_p < 1.0) || value >= max_logit) { break; }
      lowest = value + 1u;
    }
    if (whole && tries == 0u) {
      if (top_p < 1.0) { goal = top_p * whole_weight(lane, row); }
      chosen = whole_best(lane, row);
    } else {
      if (top_p < 1.0) {
        let weight = weight_from(lane, row, lowest);
        if (tries == 0u) { goal = top_p * weight; } else if (weight < goal) { break; }
      }
      chosen = best_from(lane, row, lowest);
    }
  }
  return chosen;
}

/// The order of the k-th largest logit, or `lowest` when fewer reach that.
fn kth_largest(lane: u32, row: Row, k: u32, lowest: u32) -> u32 {
  // Where k segments have their largest logit at or above a border, so do at least k logits.
  var low = lowest;
  for (var phase = select(0u, 1u, k > args.Z); phase < 2u; phase++) {
    low = bisect(lane, row, k, low, phase == 1u);
  }
  return low;
}

/// The largest border that k logits (`deep`) or k largest ones of segments reach, from `lowest` on.
fn bisect(lane: u32, row: Row, k: u32, lowest: u32, deep: bool) -> u32 {
  var low = lowest;
  var high = order(row.max);
  while (low < high) {
    let middle = high - (high - low) / 2u;
    let count = count_from(lane, row, middle, deep);
    if (count >= f32(k)) { low = middle; } else { high = middle - 1u; }
    if (count == f32(k)) { break; }
  }
  return low;
}

/// How many logits, or largest ones of segments, are not below `lowest`; exact up to 2^24.
fn count_from(lane: u32, row: Row, lowest: u32, deep: bool) -> f32 {
  var count = 0.0;
  for (var s = lane; s < num_segments(); s += LANES) {
    if (order(segment_max(row, s)) >= lowest) {
      if (!deep) { count += 1.0; }
      let end = select(0u, end_token(s), deep);
      for (var t = first_token(s); t < end; t += SEGMENT_LANES) {
        count += select(0.0, 1.0, order(logits[row.logits + t]) >= lowest);
      }
    }
  }
  return reduce_sum(lane, count);
}

/// The sum of exp(z - max z) over logits that are not below `lowest`.
fn weight_from(lane: u32, row: Row, lowest: u32) -> f32 {
  var weight = 0.0;
  for (var s = lane; s < num_segments(); s += LANES) {
    if (order(segment_max(row, s)) >= lowest) {
      for (var t = first_token(s); t < end_token(s); t += SEGMENT_LANES) {
        let logit = logits[row.logits + t];
        if (order(logit) >= lowest) { weight += exp((logit - row.max) * row.inverse_t); }
      }
    }
  }
  return reduce_sum(lane, weight);
}

/// The token of the best score among those not below `lowest`.
fn best_from(lane: u32, row: Row, lowest: u32) -> u32 {
  var mine = Best(LOWEST, NO_TOKEN);
  for (var s = lane; s < num_segments(); s += LANES) {
    if (order(segment_max(row, s)) >= lowest) {
      for (var t = first_token(s); t < end_token(s); t += SEGMENT_LANES) {
        let logit = logits[row.logits + t];
        if (order(logit) >= lowest) {
          let score = (logit - row.max) * row.inverse_t + gumbel(row.draw, t);
          mine = better(mine, Best(score, t));
        }
      }
    }
  }
  return reduce_best(lane, mine).token;
}

/// The same over the whole row, and its weight, from what the first phase found in each segment.
fn whole_best(lane: u32, row: Row) -> u32 {
  var mine = Best(LOWEST, NO_TOKEN);
  for (var s = lane; s < num_segments(); s += LANES) {
    let at = row.segments + s;
    let score = (segment_max(row, s) - row.max) * row.inverse_t +
      bitcast<f32>(segments[at + SEGMENT_SCORE * args.Z]);
    mine = better(mine, Best(score, segments[at + SEGMENT_TOKEN * args.Z]));
  }
  return reduce_best(lane, mine).token;
}

fn whole_weight(lane: u32, row: Row) -> f32 {
  var weight = 0.0;
  for (var s = lane; s < num_segments(); s += LANES) {
    weight += bitcast<f32>(segments[row.segments + SEGMENT_WEIGHT * args.Z + s]) *
      exp((segment_max(row, s) - row.max) * row.inverse_t);
  }
  return reduce_sum(lane, weight);
}

/// The chosen token's own logit is in its entry where it was adjusted.
fn put_logprob(lane: u32, row: Row, out: u32, chosen: u32) {
  let record = step[row.draw + DRAW_ADJUST];
  var mine = Best(LOWEST, NO_TOKEN);
  if (record != 0u) {
    let count = step[record + ADJUST_NUM_TOKENS];
    let tokens = step[record + ADJUST_TOKENS];
    for (var i = lane; i < count; i += LANES) {
      if (step[tokens + i] == chosen) {
        mine = Best(bitcast<f32>(step[tokens + 2u * count + i]), chosen);
      }
    }
  }
  let own = reduce_best(lane, mine);
  if (lane == 0u) {
    let logit = select(logits[row.logits + min(chosen, args.V - 1u)], own.value, own.token == chosen);
    let log_total = bitcast<f32>(sampled[out + SAMPLED_LOGPROB]);
    sampled[out + SAMPLED_LOGPROB] = bitcast<u32>(logit - log_total);
  }
}
