// norm_matmul: matmul of rows that are normalized on the way in (rms_norm.wgsl), for few rows.
//
//   u[r, k] = x[s, k] / sqrt(mean(x[s, :]^2) + EPS) * norm[k]
//   y[r, n] = sum_k u[r, k] * w[n, k], or what else _epilogue.wgsl makes of it
//   s = r, or the row of draw r when GATHER
//
// R rows, N outputs, K inputs; U weight rows as in matmul.wgsl.
//   0 step   u32 packed metadata (step.ts)
//   1 x      f32 [T, K]
//   2 norm   f32 [K]
//   3 w      WEIGHT_DTYPE [U, K]
//   4 y      f32 [R, N], or N columns of longer rows as in matmul.wgsl
//   5 bias   as in matmul.wgsl
// Dispatch: as matmul.
// Method: each workgroup computes the scale of its rows again, which their few cached bytes allow;
// it saves a dispatch and its barrier. _matmul_tile.wgsl has the rest.
// Reference: norm_matmul.ts; bit-equal to rms_norm and matmul of one tuning, one after the other.

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> norm: array<vec4<f32>>;
//# if WEIGHT_TEXTURE
@group(0) @binding(3) var w: texture_storage_2d<rgba32uint, read>;
//# else
@group(0) @binding(3) var<storage, read> w: array<Weight>;
//# end
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
//# if HAS_BIAS
@group(0) @binding(5) var<storage, read> bias: array<f32>;
//# end

@compute @workgroup_size(THREADS)
//# if SUBGROUPS
fn norm_matmul(at: Invocation, @builtin(subgroup_size) subgroup_size: u32) { tile(at, subgroup_size); }
//# else
fn norm_matmul(at: Invocation) { tile(at, 0u); }
//# end
