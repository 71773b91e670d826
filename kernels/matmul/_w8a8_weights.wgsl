// Shared by the products of int8 activations: loads of weights by spans of 32 inputs. The
// kernel declares w, array<vec4<u32>>, QuantizedLayout's words, or with WEIGHT_TEXTURE a
// texture as panel_weights.wgsl fills it, and y, array<f32>.

/// Scales the sums of dot4I8Packed: int4 codes enter it 16 times as large.
const CODE_UNIT: f32 = ${WEIGHT_BITS == 8 ? "1.0" : "0.0625"};

/// 32 codes of a weight row, four to a word.
struct Span { first: vec4<u32>, second: vec4<u32> }

/// The p-th 16 bytes of a row, whose scales follow upon its codes in a texture.
fn piece(row: u32, p: u32) -> vec4<u32> {
//# if WEIGHT_TEXTURE
  return textureLoad(w, vec2(p * 8u + row % 8u, row / 8u));
//# else
  return w[row * (args.WEIGHT_ROW / 4u) + p];
//# end
}

fn weight_span(row: u32, span: u32) -> Span {
//# if WEIGHT_BITS == 8
  return Span(piece(row, 2u * span), piece(row, 2u * span + 1u));
//# else
  // Moved to the high half of a byte, code - 8 is a signed byte, 16 times as large: its highest bit
  // turned over makes two's complement of it. Inputs 0 to 3 of a word are the low halves of its
  // bytes.
  let words = piece(row, span);
  let low = ((words << vec4(4u)) & vec4(0xf0f0f0f0u)) ^ vec4(0x80808080u);
  let high = (words & vec4(0xf0f0f0f0u)) ^ vec4(0x80808080u);
  return Span(
    vec4(low.x, high.x, low.y, high.y),
    vec4(low.z, high.z, low.w, high.w),
  );
//# end
}

/// The scale of what `dot_span` makes of them.
fn weight_scale(row: u32, span: u32) -> f32 {
  let group = span >> args.WEIGHT_GROUP_SHIFT;
//# if WEIGHT_TEXTURE
  let word = group >> 1u;
  let pair = piece(row, args.WEIGHT_ROW / 4u + (word >> 2u))[word & 3u];
//# else
  let word = args.WEIGHT_SCALES + row * args.WEIGHT_SCALE_ROW + (group >> 1u);
  let pair = w[word >> 2u][word & 3u];
//# end
  return unpack2x16float(pair >> ((group & 1u) << 4u)).x * CODE_UNIT;
}

/// Exact: 32 products of at most 2^14 each.
fn dot_span(first: vec4<u32>, second: vec4<u32>, span: Span) -> i32 {
  return dot4I8Packed(first.x, span.first.x) + dot4I8Packed(first.y, span.first.y)
    + dot4I8Packed(first.z, span.first.z) + dot4I8Packed(first.w, span.first.w)
    + dot4I8Packed(second.x, span.second.x) + dot4I8Packed(second.y, span.second.y)
    + dot4I8Packed(second.z, span.second.z) + dot4I8Packed(second.w, span.second.w);
}
