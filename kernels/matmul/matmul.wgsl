// matmul: rows times a weight matrix stored as in the checkpoint, and what follows it.
//
//   s[r, n] = sum_k x[r, k] * w[n, k]
//   y from s as in _epilogue.wgsl: stored, added to the residual, or gates and ups joined
//
// R rows, N outputs, K inputs; U weight rows: 2N where GATED (gates over ups), else N.
//   0 step   u32 packed metadata (step.ts)
//   1 x      f32 [R, K]
//   2 w      WEIGHT_DTYPE [U, K], perhaps a texture (panel_weights.ts)
//   3 y      f32 [R, N], or of rows of Y_STRIDE the columns [Y_FIRST, Y_FIRST + N)
//   4 bias   f32 of all outputs of y's rows and, where GATED, of their ups; with HAS_BIAS
// Dispatch: (ceil(N / (TILE_N * LANES)) folded over x and z, ceil(R / TILE_R), ...), see matmul.ts.
// Method: _matmul_tile.wgsl.
// Reference: matmul.ts; s is off by less than 2e-6 * sum_k |x w|, where of a format with offsets
// |scale * code| + |offset| stands for |w|.

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
//# if WEIGHT_TEXTURE
@group(0) @binding(2) var w: texture_storage_2d<rgba32uint, read>;
//# else
@group(0) @binding(2) var<storage, read> w: array<Weight>;
//# end
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
//# if HAS_BIAS
@group(0) @binding(4) var<storage, read> bias: array<f32>;
//# end

@compute @workgroup_size(THREADS)
//# if SUBGROUPS
fn matmul(at: Invocation, @builtin(subgroup_size) subgroup_size: u32) { tile(at, subgroup_size); }
//# else
fn matmul(at: Invocation) { tile(at, 0u); }
//# end
