// Memory and helpers of attend_shared.wgsl.

const LANES: u32 = ${LANES}u;
const SLICES: u32 = ${SLICES}u;
const COLUMN_GROUPS: u32 = ${COLUMN_GROUPS}u;
/// One weight more than a split has positions: it stays 0, for positions past the end.
const PITCH: u32 = ${SPLIT_LEN + 1}u;

var<workgroup> queries: array<vec4<f32>, ${HEADS * D / 4}>;
/// [head][position][slice] of scores, later [lane][4] of sums.
var<workgroup> partial: array<f32, ${Math.max(HEADS * SPLIT_LEN * SLICES, 4 * LANES)}>;
var<workgroup> weights: array<f32, ${HEADS * (SPLIT_LEN + 1)}>;
var<workgroup> eighths: array<vec2<f32>, ${HEADS * 8}>;

fn keep_sum(lane: u32, sum: vec4<f32>) {
  partial[4u * lane] = sum.x;
  partial[4u * lane + 1u] = sum.y;
  partial[4u * lane + 2u] = sum.z;
  partial[4u * lane + 3u] = sum.w;
}

fn kept_sum(lane: u32) -> vec4<f32> {
  let at = 4u * lane;
  return vec4(partial[at], partial[at + 1u], partial[at + 2u], partial[at + 3u]);
}

/// First load of position `p`'s block.
fn block_of(table: u32, p: u32) -> u32 {
  return step[table + p / ${BLOCK_SIZE}u] * ${BLOCK_LOADS}u;
}

