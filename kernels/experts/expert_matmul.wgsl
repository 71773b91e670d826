// expert_matmul: rows times the matrices of the experts that they are packed for.
//
//   s[p, n] = sum_k x[p / X_PAIRS, k] * w[e, n, k]   for each pair p of a tile of expert e
//   y[p]    from s as in _epilogue.wgsl: stored, or gates and ups joined
//
// P pairs, N outputs, K inputs, X experts, [FIRST, END) of them in a shard; U weight rows of each:
// 2N where GATED, gates over ups, or with ALTERNATES each gate before its up; else N.
//   0 x      f32 [P / X_PAIRS, K]
//   1 w      WEIGHT_DTYPE [(END - FIRST) * U, K], perhaps a texture (panel_weights.ts)
//   2 y      f32 [P, N]
//   3 bias   f32 [X, U] of all experts; with HAS_BIAS
//   4 pairs  u32 [P], packed by expert (pack_experts)
//   5 tiles  u32 [1 + 3 P]: how many, then an expert and [first, end) among `pairs` of each
// Dispatch: (ceil(N / (TILE_N * LANES)) folded over x and z, most tiles of such a step, ...); those
// past the last tile, and those of other shards' experts, end at once.
// Method: _matmul_tile.wgsl. A pair's sums do not depend on what it is packed with.
// Reference: expert_matmul.ts; s is off by less than 2e-6 * sum_k |x w|.

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
//# if WEIGHT_TEXTURE
@group(0) @binding(1) var w: texture_storage_2d<rgba32uint, read>;
//# else
@group(0) @binding(1) var<storage, read> w: array<Weight>;
//# end
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
//# if HAS_BIAS
@group(0) @binding(3) var<storage, read> bias: array<f32>;
//# end
@group(0) @binding(4) var<storage, read> pairs: array<u32>;
@group(0) @binding(5) var<storage, read> tiles: array<u32>;

fn weight_row(n: u32, half: u32) -> u32 { return expert_row(n, half); }

// What a workgroup shares is told apart from what differs by lane, for a compiler that checks that
// all lanes reach a barrier.
@compute @workgroup_size(THREADS)
fn expert_matmul(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
//# if SUBGROUPS
  @builtin(subgroup_invocation_id) subgroup_lane: u32,
  @builtin(subgroup_size) subgroup_size: u32,
//# end
) {
  if (!has_entry(workgroup_id.y)) { return; }
//# if SUBGROUPS
  tile(Invocation(workgroup_id, groups, index, subgroup_lane), subgroup_size);
//# else
  tile(Invocation(workgroup_id, groups, index), 0u);
//# end
}
