// route_experts: which experts each token goes to, and with which weights (Shazeer 2017,
// 1701.06538).
//
//   ids[t, j]     the expert with the j-th largest logit, the lower number first on a tie
//   weights[t, j] exp(l_j) / sum of exp(l_i) over the k chosen where NORMALIZES, else over all X
//
// T tokens, X experts, k = TOP_K of them; l = logits[t].
//   0 step     u32 packed metadata (step.ts)
//   1 logits   f32 [T, X]
//   2 ids      u32 [T, k]
//   3 weights  f32 [T, k]
// Dispatch: (T, 1, 1), one workgroup of LANES lanes per token.
// Method: every lane counts, for some of the experts, how many come before it; the order is total,
// that of the logits' bits, so that ids are a choice of experts whatever the logits are. Sums go in
// the order of the ranks, or of the experts: the same in every step.
// Reference: route_experts.ts; ids exact, weights off by less than 1e-5 relative.

const X: u32 = ${X}u;
const TOP_K: u32 = ${TOP_K}u;
const LANES: u32 = ${LANES}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;

var<workgroup> chosen: array<f32, TOP_K>;

/// Orders as the numbers do.
fn key(l: f32) -> u32 {
  let bits = bitcast<u32>(l);
  return bits ^ select(0x80000000u, 0xffffffffu, (bits >> 31u) == 1u);
}

@compute @workgroup_size(LANES)
fn route_experts(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let t = workgroup_id.x;
  if (t >= step[STEP_NUM_TOKENS]) { return; }
  let row = t * X;
  for (var e = lane; e < X; e += LANES) {
    let own = key(logits[row + e]);
    var rank = 0u;
    for (var i = 0u; i < X; i++) {
      let other = key(logits[row + i]);
      rank += select(0u, 1u, other > own || (other == own && i < e));
    }
    if (rank < TOP_K) {
      ids[t * TOP_K + rank] = e;
      chosen[rank] = logits[row + e];
    }
  }
  workgroupBarrier();  // every lane reads the largest logit and those chosen
  let most = chosen[0];
  var sum = 0.0;
//# if NORMALIZES
  for (var i = 0u; i < TOP_K; i++) { sum += exp(chosen[i] - most); }
//# else
  for (var i = 0u; i < X; i++) { sum += exp(logits[row + i] - most); }
//# end
  for (var j = lane; j < TOP_K; j += LANES) {
    weights[t * TOP_K + j] = exp(chosen[j] - most) / sum;
  }
}
