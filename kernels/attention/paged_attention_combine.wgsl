// paged_attention_combine: combines the splits of decode attention.
//
//   out[t, h] = sum_m partial_m * exp(max_m - P) / sum_m total_m * exp(max_m - P),  P = max_m max_m
//   with HAS_SINKS over one more m: max sinks[h], total 1, partial 0 (gpt-oss, 2508.10925)
//
// S decodes, H query heads, D head dim, M splits of a context.
//   0 step      u32 packed metadata (step.ts)
//   1 partials  f32 of each decode [H, M, D], its own M
//   2 stats     f32 of each decode [H, M, 2], max and total
//   3 out       f32 [T, H, D]
//   4 sinks     f32 [H], with HAS_SINKS
// Dispatch: (ceil(H * D/4 / 64), S, 1), one lane per four dims, for all splits in their order
// (_combine_splits.wgsl).
// Reference: paged_attention_definition.ts; 1e-5 * max |V| with paged_attention_decode.

const H: u32 = ${H}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> stats: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

//# if HAS_SINKS
@group(0) @binding(4) var<storage, read> sinks: array<f32>;
//# end

@compute @workgroup_size(64)
fn paged_attention_combine(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= H * ${D / 4}u) { return; }
  let head = id.x / ${D / 4}u;
  let seq = step[STEP_SEQS + GROUP_AT] + id.y * SEQ_WORDS;
  let splits = num_splits(step[seq + SEQ_CONTEXT_LEN]);
  let first = step[seq + SEQ_FIRST_SPLIT] * H + head * splits;
//# if HAS_SINKS
  var max_score = sinks[head];
  var total = 1.0;
//# else
  var max_score = -3.4e38;
  var total = 0.0;
//# end
  var sum = vec4(0.0);
  for (var m = 0u; m < splits; m++) {
    let split = stats[first + m];
    let factors = rescale_factors(max_score, split.x);
    max_score = max(max_score, split.x);
    total = combine_totals(total, split.y, factors);
    sum = combine_outputs(sum, partials[(first + m) * ${D / 4}u + id.x % ${D / 4}u], factors);
  }
  out[step[seq + SEQ_FIRST_ROW] * H * ${D / 4}u + id.x] = sum / total;
}
