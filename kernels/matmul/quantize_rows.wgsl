// quantize_rows: rows of activations as int8 codes, with a scale per span of 32 inputs.
//
//   x[r, k] ~ scales[r, k / 32] * codes[r, k]      a span's largest magnitude is code 127
//
// R rows, K inputs, a multiple of 32.
//   0 step    u32 packed metadata (step.ts)
//   1 x       f32 [R, K]
//   2 codes   i8 [R, K]
//   3 scales  f32 [R, K / 32]
// Dispatch: (ceil(K / 32 / LANES), R, 1), one lane per span.
// Reference: quantize_rows.ts; scales are exact, and a code is off by at most one, where the exact
// multiple lies within 1e-4 of a half.

const SPANS: u32 = ${K / 32}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> codes: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> scales: array<f32>;

@compute @workgroup_size(${LANES})
fn quantize_rows(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= SPANS || id.y >= step[STEP_NUM_TOKENS]) { return; }
  let span = id.y * SPANS + id.x;
  store_span(
    span,
//# for i in 0..8
    x[span * 8u + ${i}u],
//# end
  );
}
