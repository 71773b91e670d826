// combine_experts: adds to each token what its experts made of it, by their weights.
//
//   y[t, e] += SCALE * sum_j weights[t, j] * x[t * k + j, e], j ascending
//
// T tokens, E hidden, k = TOP_K experts of each token.
//   0 step     u32 packed metadata (step.ts)
//   1 x        f32 [T * k, E]
//   2 weights  f32 [T, k]
//   3 y        f32 [T, E], the residual
// Dispatch: (ceil(E / (4 LANES)), T, 1), a four of elements per lane.
// Reference: combine_experts.ts; the sum is off by less than 1e-6 of the sum of magnitudes.

const E4: u32 = ${E / 4}u;
const TOP_K: u32 = ${TOP_K}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(${LANES})
fn combine_experts(@builtin(global_invocation_id) id: vec3<u32>) {
  let e = id.x;
  let t = id.y;
  if (e >= E4 || t >= step[STEP_NUM_TOKENS]) { return; }
  var sum = vec4(0.0);
  for (var j = 0u; j < TOP_K; j++) {
    let pair = t * TOP_K + j;
    sum += weights[pair] * x[pair * E4 + e];
  }
  y[t * E4 + e] += sum * f32(${SCALE});
}
