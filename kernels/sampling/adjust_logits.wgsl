// adjust_logits: penalties, biases and bans, before a row is drawn from.
//
//   of each listed token t, drawn c times, and perhaps in the prompt:
//     l = l > 0 ? l / repetition : l * repetition    where c > 0 or the prompt has t (CTRL, Keskar
//                                                    2019, 1909.05858, with HF's sign rule)
//     l -= frequency * c + (c > 0 ? presence : 0)    (OpenAI)
//     l += bias                                      a bias of -infinity bans t
//   where a row has a bitmask, tokens whose bit is 0 are banned; a banned token's logit is LOWEST
//   results lie in [LOWEST, LARGEST_ADJUSTED]; a logit that has overflowed (_logit_range.wgsl)
//   stays, banned or not, for the draw to see
//
// A adjusted rows, V vocabulary.
//   0 step    u32 packed metadata (step.ts); each entry's own logit is left in place of its bias
//   1 logits  f32 [R, V], in place
// Dispatch: (ceil(widest / ADJUST_CHUNK), A, 1), LANES lanes each; widest: entries, or V with a
// bitmask.
// Method: a lane per entry, and one per token of the bitmask; their writes are apart, since entries
// that the bitmask bans are passed over.
// Reference: adjust_logits.ts; 1e-6 relative.

const LANES: u32 = ${LANES}u;
const CHUNK: u32 = ${ADJUST_CHUNK}u;

@group(0) @binding(0) var<storage, read_write> step: array<u32>;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;

@compute @workgroup_size(LANES)
fn adjust_logits(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let record = step[STEP_ADJUSTS] + workgroup_id.y * ADJUST_WORDS;
  let row = step[record + ADJUST_DRAW] * args.V;
  let first = workgroup_id.x * CHUNK + lane;
  let end = (workgroup_id.x + 1u) * CHUNK;
  let num_tokens = step[record + ADJUST_NUM_TOKENS];
  for (var i = first; i < min(end, num_tokens); i += LANES) { adjust(record, row, i, num_tokens); }
  if (step[record + ADJUST_NUM_ALLOWED] == 0u) { return; }
  for (var t = first; t < min(end, args.V); t += LANES) {
    let has_overflow = is_overflow(bitcast<u32>(logits[row + t]));
    if (!has_overflow && !is_allowed(record, t)) { logits[row + t] = LOWEST; }
  }
}

/// Without a bitmask, every token; beyond its end, none.
fn is_allowed(record: u32, token: u32) -> bool {
  let num_words = step[record + ADJUST_NUM_ALLOWED];
  if (num_words == 0u) { return true; }
  let word = token / 32u;
  if (word >= num_words) { return false; }
  return ((step[step[record + ADJUST_ALLOWED] + word] >> (token % 32u)) & 1u) == 1u;
}

fn adjust(record: u32, row: u32, i: u32, num_tokens: u32) {
  let entry = step[record + ADJUST_TOKENS] + i;
  let token = step[entry];
  if (token >= args.V || !is_allowed(record, token)) { return; }
  let seen = step[entry + num_tokens];
  let bias = step[entry + 2u * num_tokens];
  let repetition = bitcast<f32>(step[record + ADJUST_REPETITION]);
  let own = logits[row + token];
  if (is_overflow(bitcast<u32>(own))) { return; }
  var logit = own;
  if (seen > 0u) { logit = select(own * repetition, own / repetition, own > 0.0); }
  logit -= bitcast<f32>(step[record + ADJUST_FREQUENCY]) * f32(seen >> 1u);
  if (seen > 1u) { logit -= bitcast<f32>(step[record + ADJUST_PRESENCE]); }
  logit = clamp(logit + bitcast<f32>(bias), LOWEST, LARGEST_ADJUSTED);
  logits[row + token] = select(logit, LOWEST, bias == NEGATIVE_INFINITY);
  step[entry + 2u * num_tokens] = bitcast<u32>(own);
}
