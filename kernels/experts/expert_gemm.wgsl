// expert_gemm: expert_matmul's definition for experts with many rows, on GPUs.
//
//   s[p, n] = sum_k x[p / X_PAIRS, k] * w[e, n, k]   for each pair p of a tile of expert e
//   y[p]    from s as in _epilogue.wgsl: stored, or gates and ups joined
//
// P pairs, N outputs, K inputs, X experts, [FIRST, END) of them in a shard; U weight rows of each:
// 2N where GATED, gates over ups, or with ALTERNATES each gate before its up; else N.
//   0 x      f32 [P / X_PAIRS, K]
//   1 w      WEIGHT_DTYPE [(END - FIRST) * U, K]
//   2 y      f32 [P, N]
//   3 bias   f32 [X, U] of all experts; with HAS_BIAS
//   4 pairs  u32 [P], packed by expert (pack_experts)
//   5 tiles  u32 [1 + 3 P]: how many, then an expert and [first, end) among `pairs` of each
// Dispatch: (ceil(N / OUTPUTS) folded over x and z, most tiles of such a step, ...); those past the
// last tile, and those of other shards' experts, end at once.
// Method: _gemm_tile.wgsl.
// Reference: expert_matmul.ts; s is off by less than 2e-6 * sum_k |x w|.

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<Weight>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
//# if HAS_BIAS
@group(0) @binding(3) var<storage, read> bias: array<f32>;
//# end
@group(0) @binding(4) var<storage, read> pairs: array<u32>;
@group(0) @binding(5) var<storage, read> tiles: array<u32>;

/// The weight row that is row `m` of the tile: where GATED, OUTPUTS gates and then as many ups.
fn weight_row(n0: u32, m: u32) -> u32 {
//# if GATED
  return expert_row(min(n0 + m % ${OUTPUTS}u, args.N - 1u), m / ${OUTPUTS}u);
//# else
  return expert_row(min(n0 + m, args.N - 1u), 0u);
//# end
}

@compute @workgroup_size(${LANES})
fn expert_gemm(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  if (!has_entry(workgroup_id.y)) { return; }
  gemm_tile(workgroup_id, groups, index);
}
