// gemm: matmul's definition for many rows, on GPUs.
//
//   s[r, n] = sum_k x[r, k] * w[n, k]
//   y from s as in _epilogue.wgsl: stored, added to the residual, or gates and ups joined
//
// R rows, N outputs, K inputs; U weight rows: 2N where GATED (gates over ups), else N.
//   0 step   u32 packed metadata (step.ts)
//   1 x      f32 [R, K]
//   2 w      WEIGHT_DTYPE [U, K]
//   3 y      f32 [R, N], or of rows of Y_STRIDE the columns [Y_FIRST, Y_FIRST + N)
//   4 bias   f32 of all outputs of y's rows and, where GATED, of their ups; with HAS_BIAS
// Dispatch: (ceil(N / OUTPUTS) folded over x and z, ceil(R / ROWS), ...), see gemm.ts.
// Method: _gemm_tile.wgsl.
// Reference: matmul.ts; s is off by less than 2e-6 * sum_k |x w|.

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<Weight>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
//# if HAS_BIAS
@group(0) @binding(4) var<storage, read> bias: array<f32>;
//# end

@compute @workgroup_size(${LANES})
fn gemm(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  gemm_tile(workgroup_id, groups, index);
}
