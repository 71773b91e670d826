// Memory and helpers of _attend_workgroup.wgsl.

const LANES: u32 = ${LANES}u;
const SLICES: u32 = ${SLICES}u;
const COLUMN_GROUPS: u32 = ${COLUMN_GROUPS}u;
const SCORE_LANES: u32 = ${SCORE_LANES}u;
/// One weight more than a split has positions: it stays 0, for positions past the end.
const PITCH: u32 = ${SPLIT_LEN + 1}u;

var<workgroup> queries: array<vec4<f32>, ${HEADS * D / 4}>;
var<workgroup> weights: array<f32, ${HEADS * (SPLIT_LEN + 1)}>;
//# if SHUFFLE_LANES == 1
/// [head][position][slice] of scores, later [KEPT_SUMS][lane][4] of sums.
var<workgroup> partial: array<f32, ${Math.max(HEADS * SPLIT_LEN * SLICES, 4 * LANES)}>;
/// Largest score and sum of weights of each lane's share of a query's positions.
var<workgroup> shares: array<vec2<f32>, ${HEADS * SCORE_LANES}>;

/// `at` counts lanes, those of one sum after the other.
fn keep_sum(at: u32, sum: vec4<f32>) {
  partial[4u * at] = sum.x;
  partial[4u * at + 1u] = sum.y;
  partial[4u * at + 2u] = sum.z;
  partial[4u * at + 3u] = sum.w;
}

fn kept_sum(at: u32) -> vec4<f32> {
  let first = 4u * at;
  return vec4(partial[first], partial[first + 1u], partial[first + 2u], partial[first + 3u]);
}
//# end

/// The load of V's vectors that a lane sums up, and which of COLUMN_GROUPS lanes that do so it is;
/// more if none.
//# if SHUFFLE_LANES > 1
fn column_of(lane: u32) -> u32 { return lane / COLUMN_GROUPS; }
fn row_of(lane: u32) -> u32 {
  return select(COLUMN_GROUPS, lane % COLUMN_GROUPS, column_of(lane) < ${VECTOR_LOADS}u);
}
//# else
fn column_of(lane: u32) -> u32 { return lane % ${VECTOR_LOADS}u; }
fn row_of(lane: u32) -> u32 { return lane / ${VECTOR_LOADS}u; }
//# end

/// First load of position `p`'s block.
fn block_of(table: u32, p: u32) -> u32 {
  return step[table + p / ${BLOCK_SIZE}u] * ${STRIDE_LOADS}u + ${LAYER_OFFSET_LOADS}u;
}

