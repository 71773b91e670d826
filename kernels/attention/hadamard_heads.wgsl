// hadamard_heads: undoes, in attention's output, the Walsh-Hadamard transform that V is stored in.
//
//   out[t, h] = B out[t, h],  B the orthonormal transform of each block of HADAMARD dims
//
// T tokens, H query heads, D head dim.
//   0 step  u32 packed metadata (step.ts)
//   1 out   f32 [T, H, D], in place
// Dispatch: (ceil(H * D / HADAMARD / 64), T, 1); a lane holds one block in registers.
// Reference: hadamard_heads.ts; 1e-6 of a block's largest magnitude.

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(64)
fn hadamard_heads(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= ${H * D / HADAMARD}u || id.y >= step[STEP_NUM_TOKENS]) { return; }
  let first = id.y * ${H * D / 4}u + id.x * ${HADAMARD / 4}u;
//# for q in 0..LANE_DIMS / 4
  var x${q} = out[first + ${q}u];
//# end
${hadamard}
//# for q in 0..LANE_DIMS / 4
  out[first + ${q}u] = x${q};
//# end
}
