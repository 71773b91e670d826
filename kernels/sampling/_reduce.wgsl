// Shared by the kernels with one workgroup of LANES lanes per row: reductions over its lanes. Two
// levels of REDUCE_WIDTH and LANES / REDUCE_WIDTH; the order of additions is fixed. The result is
// uniform over the workgroup, which Tint can prove, so that loops with reductions in them may
// depend on it.

const LANES: u32 = ${LANES}u;
const REDUCE_WIDTH: u32 = ${2 ** Math.ceil(Math.log2(LANES) / 2)}u;

var<workgroup> lane_values: array<f32, LANES>;
var<workgroup> lane_tokens: array<u32, LANES>;
var<workgroup> row_values: array<f32, LANES / REDUCE_WIDTH>;
var<workgroup> row_tokens: array<u32, LANES / REDUCE_WIDTH>;
var<workgroup> row_best: Best;
var<workgroup> row_sum: f32;

fn reduce_best(lane: u32, mine: Best) -> Best {
  lane_values[lane] = mine.value;
  lane_tokens[lane] = mine.token;
  workgroupBarrier();  // all lanes have published
  if (lane < LANES / REDUCE_WIDTH) {
    var best = Best(LOWEST, NO_TOKEN);
    for (var i = lane * REDUCE_WIDTH; i < (lane + 1u) * REDUCE_WIDTH; i++) {
      best = better(best, Best(lane_values[i], lane_tokens[i]));
    }
    row_values[lane] = best.value;
    row_tokens[lane] = best.token;
  }
  workgroupBarrier();  // the first level is complete
  if (lane == 0u) {
    var best = Best(LOWEST, NO_TOKEN);
    for (var i = 0u; i < LANES / REDUCE_WIDTH; i++) {
      best = better(best, Best(row_values[i], row_tokens[i]));
    }
    row_best = best;
  }
  return workgroupUniformLoad(&row_best);
}

fn reduce_sum(lane: u32, mine: f32) -> f32 {
  lane_values[lane] = mine;
  workgroupBarrier();  // all lanes have published
  if (lane < LANES / REDUCE_WIDTH) {
    var sum = 0.0;
    for (var i = lane * REDUCE_WIDTH; i < (lane + 1u) * REDUCE_WIDTH; i++) { sum += lane_values[i]; }
    row_values[lane] = sum;
  }
  workgroupBarrier();  // the first level is complete
  if (lane == 0u) {
    var sum = 0.0;
    for (var i = 0u; i < LANES / REDUCE_WIDTH; i++) { sum += row_values[i]; }
    row_sum = sum;
  }
  return workgroupUniformLoad(&row_sum);
}
