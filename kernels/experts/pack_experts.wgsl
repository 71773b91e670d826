// pack_experts: the pairs of a token and an expert of its, expert by expert, and tiles of them.
//
//   pairs    the numbers t * k + j of all pairs, those of expert 0 first, in order
//   tiles    at most TILE_R pairs of one expert each: its number, and [first, end) among `pairs`
//
// T tokens, X experts, k = TOP_K of each token, P = T * k pairs.
//   0 step   u32 packed metadata (step.ts)
//   1 ids    u32 [T, k]
//   2 pairs  u32 [P]
//   3 tiles  u32 [1 + 3 P]: how many there are, then three words for each
// Dispatch: (X, 1, 1), one workgroup of LANES lanes per expert.
// Method: each workgroup counts the pairs of all experts, and so knows where its own begin; each
// lane has a run of pairs, and counts its own among them before it writes them. No order depends on
// which lane is first.
// Reference: pack_experts.ts; exact.

const X: u32 = ${X}u;
const TOP_K: u32 = ${TOP_K}u;
const LANES: u32 = ${LANES}u;
const TILE_R: u32 = ${TILE_R}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> pairs: array<u32>;
@group(0) @binding(3) var<storage, read_write> tiles: array<u32>;

var<workgroup> counts: array<atomic<u32>, X>;
/// Of this workgroup's expert, by lane.
var<workgroup> own: array<u32, LANES>;

@compute @workgroup_size(LANES)
fn pack_experts(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let expert = workgroup_id.x;
  let num_pairs = step[STEP_NUM_TOKENS] * TOP_K;
  let run = (num_pairs + LANES - 1u) / LANES;
  let begin = min(lane * run, num_pairs);
  let end = min(begin + run, num_pairs);
  var found = 0u;
  for (var p = begin; p < end; p++) {
    let id = ids[p];
    atomicAdd(&counts[id], 1u);
    found += select(0u, 1u, id == expert);
  }
  own[lane] = found;
  workgroupBarrier();  // every lane reads every count
  var first = 0u;
  var tile = 0u;
  for (var e = 0u; e < expert; e++) {
    let count = atomicLoad(&counts[e]);
    first += count;
    tile += (count + TILE_R - 1u) / TILE_R;
  }
  let past = first + atomicLoad(&counts[expert]);
  let num_tiles = (past - first + TILE_R - 1u) / TILE_R;
  var at = first;
  for (var i = 0u; i < lane; i++) { at += own[i]; }
  for (var p = begin; p < end; p++) {
    if (ids[p] == expert) {
      pairs[at] = p;
      at++;
    }
  }
  for (var i = lane; i < num_tiles; i += LANES) {
    let entry = 1u + (tile + i) * 3u;
    tiles[entry] = expert;
    tiles[entry + 1u] = first + i * TILE_R;
    tiles[entry + 2u] = min(first + (i + 1u) * TILE_R, past);
  }
  if (expert == X - 1u && lane == 0u) { tiles[0] = tile + num_tiles; }
}
