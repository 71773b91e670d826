// sample_tokens: draws one token per row of logits, and reports log-probabilities.
//
//   greedy (temperature 0): the largest logit, lowest id on a tie
//   else: z = logits / temperature; keep z >= max z + log(min_p); of those the top_k largest (ties at
//   the border stay); of those the smallest set of largest whose weight reaches top_p of theirs
//   (Holtzman 2019, 1904.09751); draw among them by the Gumbel-max trick: argmax z + g,
//   g = -log(-log u), u = hash(seed, output index, token). A draw so depends on nothing else.
//   log-probabilities are those of the logits as they are, before temperature and filters.
//
// R rows, V vocabulary.
//   0 step     u32 packed metadata (step.ts)
//   1 logits   f32 [R, V]
//   2 sampled  u32 [R, SAMPLED_WORDS]: token, log-probability, then pairs (token, log-probability)
// Dispatch: (R, 1, 1), one workgroup of LANES lanes per row.
// Method: borders are found by bisection over the bits of the logits in an order-preserving integer
// form, 32 counting passes each, exact and without sorting. Hash: pcg4d (Jarzynski and Olano 2020,
// "Hash Functions for GPU Rendering").
// Reference: sample_tokens.ts; the same token unless two candidates are within 1e-5.

const V: u32 = ${V}u;
const LANES: u32 = ${LANES}u;
const LOWEST: f32 = -3.4e38;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> sampled: array<u32>;

struct Best { value: f32, token: u32 }

var<workgroup> best_values: array<f32, LANES>;
var<workgroup> best_tokens: array<u32, LANES>;
var<workgroup> sums: array<f32, LANES>;

/// The larger value; on a tie the lower token.
fn better(a: Best, b: Best) -> Best {
  if (b.value > a.value || (b.value == a.value && b.token < a.token)) { return b; }
  return a;
}

fn reduce_best(lane: u32, mine: Best) -> Best {
  best_values[lane] = mine.value;
  best_tokens[lane] = mine.token;
  workgroupBarrier();  // all lanes have published
  for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
    if (lane < stride) {
      let both = better(Best(best_values[lane], best_tokens[lane]),
        Best(best_values[lane + stride], best_tokens[lane + stride]));
      best_values[lane] = both.value;
      best_tokens[lane] = both.token;
    }
    workgroupBarrier();  // this level is complete
  }
  let result = Best(best_values[0], best_tokens[0]);
  workgroupBarrier();  // read before the next reduction writes
  return result;
}

fn reduce_sum(lane: u32, mine: f32) -> f32 {
  sums[lane] = mine;
  workgroupBarrier();  // all lanes have published
  for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
    if (lane < stride) { sums[lane] += sums[lane + stride]; }
    workgroupBarrier();  // this level is complete
  }
  let result = sums[0];
  workgroupBarrier();  // read before the next reduction writes
  return result;
}

/// Maps floats to integers of the same order.
fn order(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

/// Uniform in (0, 1), by seed, output index and token.
fn uniform_draw(sample: u32, token: u32) -> f32 {
  var v = vec4(step[sample + SAMPLE_SEED_LOW], step[sample + SAMPLE_SEED_HIGH],
    step[sample + SAMPLE_OUTPUT_INDEX], token) * 1664525u + 1013904223u;
  v.x += v.y * v.w; v.y += v.z * v.x; v.z += v.x * v.y; v.w += v.y * v.z;
  v ^= v >> vec4(16u);
  v.x += v.y * v.w; v.y += v.z * v.x; v.z += v.x * v.y; v.w += v.y * v.z;
  return (f32(v.x >> 9u) + 0.5) / 8388608.0;
}

/// The largest border such that the tokens at or above it, and at or above `lowest`, weigh `goal`
/// (their number when `count`, else the sum of exp(z - peak)).
fn border(
  lane: u32, row: u32, lowest: u32, goal: f32, count: bool, inverse_t: f32, peak: f32,
) -> u32 {
  var found = 0u;
  for (var bit = 0x80000000u; bit > 0u; bit >>= 1u) {
    let candidate = max(found | bit, lowest);
    var weight = 0.0;
    for (var t = lane; t < V; t += LANES) {
      let logit = logits[row + t];
      if (order(logit) >= candidate) {
        weight += select(exp((logit - peak) * inverse_t), 1.0, count);
      }
    }
    if (reduce_sum(lane, weight) >= goal) { found |= bit; }
  }
  return max(found, lowest);
}

@compute @workgroup_size(LANES)
fn sample_tokens(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.x * V;
  let sample = step[STEP_SAMPLES] + group.x * SAMPLE_WORDS;
  let out = group.x * SAMPLED_WORDS;

  var mine = Best(LOWEST, 0xffffffffu);
  for (var t = lane; t < V; t += LANES) { mine = better(mine, Best(logits[row + t], t)); }
  let top = reduce_best(lane, mine);

  var chosen = top.token;
  let temperature = bitcast<f32>(step[sample + SAMPLE_TEMPERATURE]);
  if (temperature > 0.0) {
    chosen = draw(lane, row, sample, 1.0 / temperature, top.value);
  }
  if (lane == 0u) { sampled[out + SAMPLED_TOKEN] = chosen; }
  let wanted = step[sample + SAMPLE_NUM_LOGPROBS];
  if (wanted > 0u) { report(lane, row, out, chosen, wanted - 1u, top.value); }
}

fn draw(lane: u32, row: u32, sample: u32, inverse_t: f32, peak: f32) -> u32 {
  var lowest = 0u;
  let min_p = bitcast<f32>(step[sample + SAMPLE_MIN_P]);
  if (min_p > 0.0) { lowest = order(peak + log(min_p) / inverse_t); }
  let top_k = step[sample + SAMPLE_TOP_K];
  if (top_k > 0u && top_k < V) {
    lowest = border(lane, row, lowest, f32(top_k), true, inverse_t, peak);
  }
  let top_p = bitcast<f32>(step[sample + SAMPLE_TOP_P]);
  if (top_p < 1.0) {
    var weight = 0.0;
    for (var t = lane; t < V; t += LANES) {
      let logit = logits[row + t];
      if (order(logit) >= lowest) { weight += exp((logit - peak) * inverse_t); }
    }
    let all = reduce_sum(lane, weight);
    lowest = border(lane, row, lowest, top_p * all, false, inverse_t, peak);
  }
  // The likeliest token always stays, whatever rounding does at the borders.
  lowest = min(lowest, order(peak));
  var mine = Best(LOWEST, 0xffffffffu);
  for (var t = lane; t < V; t += LANES) {
    let logit = logits[row + t];
    if (order(logit) >= lowest) {
      let gumbel = -log(-log(uniform_draw(sample, t)));
      mine = better(mine, Best((logit - peak) * inverse_t + gumbel, t));
    }
  }
  return reduce_best(lane, mine).token;
}

fn report(lane: u32, row: u32, out: u32, chosen: u32, count: u32, peak: f32) {
  var weight = 0.0;
  for (var t = lane; t < V; t += LANES) { weight += exp(logits[row + t] - peak); }
  let log_total = peak + log(reduce_sum(lane, weight));
  if (lane == 0u) {
    sampled[out + SAMPLED_LOGPROB] = bitcast<u32>(logits[row + min(chosen, V - 1u)] - log_total);
  }
  // The next best is the best among those after the last one in (value down, token up) order.
  var last = Best(-LOWEST, 0u);
  for (var i = 0u; i < count; i++) {
    var mine = Best(LOWEST, 0xffffffffu);
    for (var t = lane; t < V; t += LANES) {
      let logit = logits[row + t];
      if (logit < last.value || (logit == last.value && t > last.token)) {
        mine = better(mine, Best(logit, t));
      }
    }
    last = reduce_best(lane, mine);
    if (lane == 0u) {
      sampled[out + SAMPLED_TOP + 2u * i] = last.token;
      sampled[out + SAMPLED_TOP + 2u * i + 1u] = bitcast<u32>(last.value - log_total);
    }
  }
}
