// sample_segments: the first phase of drawing, in which a lane summarizes its segment of a row.
//
//   always:   the largest logit, lowest id on a tie; NO_TOKEN where all are banned. One that has
//             overflowed makes HIGHEST the largest, NO_TOKEN its token, and ends the summary
//   REPORT:   the sum of exp(logit - largest)
//   draws over the whole vocabulary:
//             the best of score = (logit - largest) / temperature + gumbel(token), its token, and,
//             where a nucleus is asked for, the sum of exp((logit - largest) / temperature)
//
// R rows, V vocabulary, Z segments (_segments.wgsl).
//   0 step      u32 packed metadata (step.ts)
//   1 logits    f32 [R, V]
//   2 segments  u32 [R, SEGMENT_PLANES, Z]; planes not named above stay as they are
// Dispatch: (Z / SEGMENT_LANES, R, 1). With REPORT, rows without log-probabilities are passed over.
// Method: no lane waits for another, so that a row is read by as many workgroups as there are
// (_segment_summary.wgsl). Scores are relative to the segment's largest: they stay small, and sums
// of exp cannot overflow.
// Reference: sample_segments.ts; tokens equal unless within 1e-5, sums within 1e-5 relative.

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> segments: array<u32>;

@compute @workgroup_size(SEGMENT_LANES)
fn sample_segments(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let draw = step[STEP_DRAWS] + workgroup_id.y * DRAW_WORDS;
  //# if REPORT
  if (step[draw + DRAW_NUM_LOGPROBS] == 0u) { return; }
  //# end
  put_segment(workgroup_id.y, workgroup_id.x * SEGMENT_LANES + lane, draw);
}
