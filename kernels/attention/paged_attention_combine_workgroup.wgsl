// paged_attention_combine_workgroup: paged_attention_combine for GPUs, one workgroup per decode and
// head.
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
// Dispatch: (H, S, 1). Lanes along D, ROWS splits at a time; weights of LANES splits are computed
// at once.
// Reference: paged_attention_definition.ts; 1e-5 * max |V| with paged_attention_decode_workgroup.

const H: u32 = ${H}u;
const LANES: u32 = ${LANES}u;
const QUADS: u32 = ${D / 4}u;
const ROWS: u32 = ${Math.floor(LANES / (D / 4))}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> stats: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

//# if HAS_SINKS
@group(0) @binding(4) var<storage, read> sinks: array<f32>;
//# end

var<workgroup> numbers: array<f32, ${LANES}>;
var<workgroup> sums: array<vec4<f32>, ${LANES}>;

@compute @workgroup_size(${LANES})
fn paged_attention_combine_workgroup(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let seq = step[STEP_SEQS + GROUP_AT] + workgroup_id.y * SEQ_WORDS;
  let splits = num_splits(step[seq + SEQ_CONTEXT_LEN]);
  let first = step[seq + SEQ_FIRST_SPLIT] * H + workgroup_id.x * splits;
//# if HAS_SINKS
  var best = sinks[workgroup_id.x];
//# else
  var best = -3.4e38;
//# end
  for (var m = lane; m < splits; m += LANES) { best = max(best, stats[first + m].x); }
  numbers[lane] = best;
  workgroupBarrier();  // every lane's maximum is there
  // Lanes without a split, and those past the next power of two, have nothing to add.
  let reach = min(LANES, 1u << (32u - countLeadingZeros(splits - 1u)));
  for (var half = reach / 2u; half > 0u; half /= 2u) {
    if (lane < half) { numbers[lane] = max(numbers[lane], numbers[lane + half]); }
    workgroupBarrier();  // of half as many lanes
  }
  let max_score = numbers[0];
  let column = lane % QUADS;
  let row = lane / QUADS;
  var sum = vec4(0.0);
  var total = 0.0;
//# if HAS_SINKS
  if (lane == 0u) { total = exp(sinks[workgroup_id.x] - max_score); }
//# end
  for (var m0 = 0u; m0 < splits; m0 += LANES) {
    workgroupBarrier();  // nobody reads the last numbers any more
    let m = m0 + lane;
    var weight = 0.0;
    if (m < splits) {
      weight = exp(stats[first + m].x - max_score);
      total += weight * stats[first + m].y;
    }
    numbers[lane] = weight;
    workgroupBarrier();  // the weights are there
    let end = min(LANES, splits - m0);
    if (row < ROWS) {
      for (var i = row; i < end; i += ROWS) {
        sum += numbers[i] * partials[(first + m0 + i) * QUADS + column];
      }
    }
  }
  workgroupBarrier();  // nobody reads the weights any more
  numbers[lane] = total;
  sums[lane] = sum;
  workgroupBarrier();  // every lane's sums are there
  for (var half = reach / 2u; half > 0u; half /= 2u) {
    if (lane < half) { numbers[lane] += numbers[lane + half]; }
    workgroupBarrier();  // of half as many lanes
  }
  if (lane < QUADS) {
    for (var r = 1u; r < min(ROWS, splits); r++) { sum += sums[lane + r * QUADS]; }
    out[(step[seq + SEQ_FIRST_ROW] * H + workgroup_id.x) * QUADS + lane] = sum / numbers[0];
  }
}
