// panel_weights: a matrix of plain weights as an image, in panels of eight rows.
//
//   out[r / 8, 8p + r % 8] = w[r, p],  p-th 16 bytes of row r
//
// ROWS rows of PIECES times 16 bytes.
//   0 w      u32 [ROWS, PIECES, 4]
//   1 out    image [ceil(ROWS / 8), 8 PIECES]; rows of the last panel past the end stay zero
// Dispatch: (PIECES, ceil(ROWS / 8), 1), one lane per texel.
// Reference: panel_weights.ts; exact.

@group(0) @binding(0) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(1) var out: texture_storage_2d<rgba32uint, write>;

@compute @workgroup_size(8)
fn panel_weights(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y * 8u + lane;
  if (row >= ${ROWS}u) { return; }
  textureStore(out, vec2(group.x * 8u + lane, group.y), w[row * ${PIECES}u + group.x]);
}
