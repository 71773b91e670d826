// embed_tokens: rows of the embedding matrix.
//
//   out[t, :] = SCALE * w[tokens[t] - BEGIN, :]     for tokens in [BEGIN, END), those of w
//
// T tokens, V vocabulary, E hidden. Other rows of out are another call's.
//   0 step   u32 packed metadata (step.ts)
//   1 w      WEIGHT_DTYPE [END - BEGIN, E]
//   2 out    f32 [T, E]
// Dispatch: (ceil(E / 4 / 64), T, 1), one lane per four elements.
// Reference: embed_tokens.ts; exact without a factor, else 2^-22 relative.

const K4: u32 = ${E / 4}u;
fn row_fours() -> u32 { return K4; }
const V: u32 = ${V}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
//# if WEIGHT_TEXTURE
@group(0) @binding(1) var w: texture_storage_2d<rgba32uint, read>;
//# else
@group(0) @binding(1) var<storage, read> w: array<Weight>;
//# end
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(64)
fn embed_tokens(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= K4) { return; }
  let token = min(step[step[STEP_TOKENS] + id.y], V - 1u);
//# if BEGIN > 0 || END < V
  if (token < ${BEGIN}u || token >= ${END}u) { return; }
//# end
//# if SCALE == 1
  out[id.y * K4 + id.x] = weight4(token - ${BEGIN}u, id.x);
//# else
  out[id.y * K4 + id.x] = f32(${SCALE}) * weight4(token - ${BEGIN}u, id.x);
//# end
}
