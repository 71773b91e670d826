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

fn row_fours() -> u32 { return args.E / 4u; }

@group(0) @binding(0) var<storage, read> step: array<u32>;
//# if WEIGHT_TEXTURE
@group(0) @binding(1) var w: texture_storage_2d<rgba32uint, read>;
//# else
@group(0) @binding(1) var<storage, read> w: array<Weight>;
//# end
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(64)
fn embed_tokens(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= row_fours()) { return; }
  let token = min(step[step[STEP_TOKENS] + id.y], args.V - 1u);
  if (token < args.BEGIN || token >= args.END) { return; }
//# if SCALE == 1
  out[id.y * row_fours() + id.x] = weight4(token - args.BEGIN, id.x);
//# else
  out[id.y * row_fours() + id.x] = f32(${SCALE}) * weight4(token - args.BEGIN, id.x);
//# end
}
