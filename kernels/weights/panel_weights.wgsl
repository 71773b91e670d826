// panel_weights: a matrix of weights as a texture, in panels of eight rows.
//
//   out[r / 8, 8p + r % 8] = w[r, p],  p-th 16 bytes of row r; after a row's codes, its scales
//
// ROWS rows of PIECES times 16 bytes, and below them in w as many rows of SCALE_WORDS words.
//   0 w      u32 [ROWS, PIECES, 4] and [ROWS, SCALE_WORDS]
//   1 out    texture [ceil(ROWS / 8), 8 (PIECES + ceil(SCALE_WORDS / 4))]; rows of the last panel
//            past the end, and words past a row's scales, stay or are zero
// Dispatch: (PIECES + ceil(SCALE_WORDS / 4), ceil(ROWS / 8), 1), one lane per texel.
// Reference: panel_weights.ts; exact.

@group(0) @binding(0) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(1) var out: texture_storage_2d<rgba32uint, write>;

@compute @workgroup_size(8)
fn panel_weights(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = workgroup_id.y * 8u + lane;
  if (row >= args.ROWS) { return; }
  let to = vec2(workgroup_id.x * 8u + lane, workgroup_id.y);
  if (workgroup_id.x >= args.PIECES) {
    let first = 4u * (workgroup_id.x - args.PIECES);
    textureStore(out, to, vec4(
      scale_word(row, first), scale_word(row, first + 1u),
      scale_word(row, first + 2u), scale_word(row, first + 3u)));
    return;
  }
  textureStore(out, to, w[row * args.PIECES + workgroup_id.x]);
}

fn scale_word(row: u32, i: u32) -> u32 {
  if (i >= args.SCALE_WORDS) { return 0u; }
  let word = 4u * args.ROWS * args.PIECES + row * args.SCALE_WORDS + i;
  return w[word / 4u][word % 4u];
}
