// Loads consecutive weights of any element type as f32. The kernel declares
//   w     array<Weight>, rows of K4 fours, or for a quantized type QuantizedLayout's words; with
//         WEIGHT_TEXTURE a texture_storage_2d<rgba32uint, read> as panel_weights.wgsl fills it
//   row_fours()   u32, the row length K4 in fours
// and says how many fours it LOADs at once. With LOAD > 1, K4 and k4 are multiples of LOAD, which
// is at most 2, 4 for 8-bit codes and 8 for those of 4 and 6: 16 bytes, the widest load of a lane.
//   weights(row, k4)          LOAD fours of weights
//   weight4, weight8          the same by name, where LOAD is 1 or 2
//   codes(row, k4)            quantized: of codes, for sums that are scaled once per group
//   group_line(row, k4)       quantized: their scale, and what is added to each scale * code
// Codes of q6_k come times the scale of their 16 inputs, whole numbers below 2^13. Weights of q4_k
// and q6_k are rounded once, as QuantizedLayout says: the products before that are exact.
// f16 goes through unpack2x16float, which every adapter has; bf16 is the upper half of an f32.
alias Fours = array<vec4<f32>, ${LOAD}>;
//# if WEIGHT_TEXTURE
/// The p-th 16 bytes of a row.
fn piece(row: u32, p: u32) -> vec4<u32> {
  return textureLoad(w, vec2(p * 8u + row % 8u, row / 8u));
}
//# end
//# if WEIGHT_DTYPE == "f32" && WEIGHT_TEXTURE
fn weights(row: u32, k4: u32) -> Fours {
//# if LOAD == 2
  return Fours(bitcast<vec4<f32>>(piece(row, k4)), bitcast<vec4<f32>>(piece(row, k4 + 1u)));
//# else
  return Fours(bitcast<vec4<f32>>(piece(row, k4)));
//# end
}
//# end
//# if WEIGHT_DTYPE == "f32" && !WEIGHT_TEXTURE
alias Weight = vec4<f32>;
fn weights(row: u32, k4: u32) -> Fours {
  let at = row * row_fours() + k4;
//# if LOAD == 2
  return Fours(w[at], w[at + 1u]);
//# else
  return Fours(w[at]);
//# end
}
//# end
//# if WEIGHT_DTYPE == "f16"
fn widened(words: vec2<u32>) -> vec4<f32> {
  return vec4(unpack2x16float(words.x), unpack2x16float(words.y));
}
//# end
//# if WEIGHT_DTYPE == "bf16"
fn widened(words: vec2<u32>) -> vec4<f32> {
  let halves = vec4(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u);
  return bitcast<vec4<f32>>(halves);
}
//# end
//# if WEIGHT_DTYPE == "f16" || WEIGHT_DTYPE == "bf16"
//# if WEIGHT_TEXTURE
fn weights(row: u32, k4: u32) -> Fours {
  let words = piece(row, k4 >> 1u);
//# if LOAD == 2
  return Fours(widened(words.xy), widened(words.zw));
//# else
  return Fours(widened(select(words.xy, words.zw, (k4 & 1u) == 1u)));
//# end
}
//# end
//# if LOAD == 2 && !WEIGHT_TEXTURE
alias Weight = vec4<u32>;
fn weights(row: u32, k4: u32) -> Fours {
  let words = w[row * (row_fours() / 2u) + (k4 >> 1u)];
  return Fours(widened(words.xy), widened(words.zw));
}
//# end
//# if LOAD == 1 && !WEIGHT_TEXTURE
alias Weight = vec2<u32>;
fn weights(row: u32, k4: u32) -> Fours { return Fours(widened(w[row * row_fours() + k4])); }
//# end
//# end
//# if WEIGHT_BITS > 0
//# if WEIGHT_BLOCKS && !WEIGHT_TEXTURE
alias Weight = vec4<u32>;
fn piece(row: u32, p: u32) -> vec4<u32> { return w[row * (args.WEIGHT_ROW / 4u) + p]; }
//# end
//# if WEIGHT_BLOCKS || WEIGHT_TEXTURE
/// A load is one word of codes or the four of a piece.
fn code_words(row: u32, i: u32) -> ${LOAD_WORDS == 1 ? "u32" : "vec4<u32>"} {
  return piece(row, i >> 2u)${LOAD_WORDS == 1 ? "[i & 3u]" : ""};
}
//# else
//# if LOAD_WORDS == 1
alias Weight = u32;
//# else
alias Weight = vec${LOAD_WORDS}<u32>;
//# end
/// LOAD_WORDS words of a row's codes from the i-th on.
fn code_words(row: u32, i: u32) -> Weight { return w[(row * args.WEIGHT_ROW + i) / ${LOAD_WORDS}u]; }
//# end
fn scale_word(row: u32, i: u32) -> u32 {
//# if WEIGHT_TEXTURE
  return piece(row, args.WEIGHT_ROW / 4u + (i >> 2u))[i & 3u];
//# else
  let at = args.WEIGHT_SCALES + row * args.WEIGHT_SCALE_ROW + i;
//# if WEIGHT_BLOCKS
  return w[at >> 2u][at & 3u];
//# else
  return w[at / ${LOAD_WORDS}u]${LOAD_WORDS == 1 ? "" : "[at % " + LOAD_WORDS + "u]"};
//# end
//# end
}
//# end
//# if WEIGHT_BITS == 8
fn code4(word: u32) -> vec4<f32> {
  return vec4<f32>(unpack4xI8(word));
}
fn codes(row: u32, k4: u32) -> Fours {
  let words = code_words(row, k4);
  return Fours(
//# if LOAD == 1
    code4(words),
//# else
//# for i in 0..LOAD
    code4(words.${"xyzw"[i]}),
//# end
//# end
  );
}
//# end
//# if WEIGHT_BITS == 4
// Inputs 0 to 3 of a word are the low halves of its bytes, 4 to 7 the high ones.
fn code4(halves: u32) -> vec4<f32> {
  return vec4<f32>(unpack4xU8(halves & 0x0f0f0f0fu));
}
/// Codes as they are stored, from 0 on.
fn raw_codes(row: u32, k4: u32) -> Fours {
  let words = code_words(row, k4 >> 1u);
  return Fours(
//# if LOAD == 1
    code4(words >> ((k4 & 1u) << 2u)),
//# end
//# if LOAD == 2
    code4(words), code4(words >> 4u),
//# end
//# if LOAD > 2
//# for i in 0..LOAD_WORDS
    code4(words.${"xyzw"[i]}), code4(words.${"xyzw"[i]} >> 4u),
//# end
//# end
  );
}
fn codes(row: u32, k4: u32) -> Fours {
  let fours = raw_codes(row, k4);
  return Fours(
//# for i in 0..LOAD
    fours[${i}] - 8.0,
//# end
  );
}
//# end
//# if WEIGHT_DTYPE == "q6_k"
fn code4(lows: u32, uppers: u32) -> vec4<f32> {
  let codes = (lows & 0x0f0f0f0fu) | ((uppers & 0x03030303u) << 4u);
  return vec4<f32>(unpack4xU8(codes)) - 32.0;
}
fn codes(row: u32, k4: u32) -> Fours {
  // Sixteen inputs have one word of upper pairs, and one scale.
  let scale_codes = scale_word(row, k4 >> 4u) >> ((k4 & 8u) << 1u);
  let words = code_words(row, k4 >> 1u);
//# if LOAD == 8
  let pieces = piece(row, args.WEIGHT_ROW / 6u + (k4 >> 4u));
  let uppers = select(pieces.xy, pieces.zw, (k4 & 8u) != 0u);
  let scales = vec4<f32>(unpack4xI8(scale_codes));
  return Fours(
//# for i in 0..LOAD
    scales.${"xy"[i >> 2]} *
      code4(words.${"xyzw"[i >> 1]} >> ${4 * (i & 1)}u, uppers.${"xy"[i >> 2]} >> ${2 * (i & 3)}u),
//# end
  );
//# else
  let at = args.WEIGHT_ROW * 2u / 3u + (k4 >> 2u);
  let uppers = piece(row, at >> 2u)[at & 3u] >> ((k4 & 3u) << 1u);
  let scale = f32(extractBits(bitcast<i32>(scale_codes), (k4 & 4u) << 1u, 8u));
  return Fours(
//# for i in 0..LOAD
    scale * code4(words >> ${LOAD == 1 ? "((k4 & 1u) << 2u)" : 4 * i + "u"}, uppers >> ${2 * i}u),
//# end
  );
//# end
}
fn group_line(row: u32, k4: u32) -> vec2<f32> {
  let block = k4 >> 6u;
  let pair = scale_word(row, (row_fours() >> 4u) + (block >> 1u));
  return vec2(unpack2x16float(pair >> ((block & 1u) << 4u)).x, 0.0);
}
//# end
//# if WEIGHT_DTYPE == "q4_k"
/// Scale and minimum of 32 inputs.
fn group_numbers(row: u32, k4: u32) -> vec2<f32> {
//# if WEIGHT_TEXTURE
  let block = piece(row, args.WEIGHT_ROW / 4u + (k4 >> 6u));
//# else
  let block = w[args.WEIGHT_SCALES / 4u + row * (args.WEIGHT_SCALE_ROW / 4u) + (k4 >> 6u)];
//# end
  let shift = ((k4 >> 3u) & 7u) << 2u;
  let uppers = block.w >> shift;
  let codes = ((block.yz >> vec2(shift)) & vec2(15u)) | (vec2(uppers << 4u, uppers << 2u) & vec2(48u));
  return unpack2x16float(block.x) * vec2<f32>(codes);
}
fn group_line(row: u32, k4: u32) -> vec2<f32> {
  let numbers = group_numbers(row, k4);
  return vec2(numbers.x, 8.0 * numbers.x - numbers.y);
}
fn weights(row: u32, k4: u32) -> Fours {
  let fours = raw_codes(row, k4);
  let numbers = group_numbers(row, k4);
  return Fours(
//# for i in 0..LOAD
    fours[${i}] * numbers.x - numbers.y,
//# end
  );
}
//# end
//# if WEIGHT_BITS > 0 && !WEIGHT_BLOCKS
fn group_line(row: u32, k4: u32) -> vec2<f32> {
  let group = k4 >> (3u + args.WEIGHT_GROUP_SHIFT);
  let pair = scale_word(row, group >> 1u);
  return vec2(unpack2x16float(pair >> ((group & 1u) << 4u)).x, 0.0);
}
//# end
//# if WEIGHT_BITS > 0 && !WEIGHT_OFFSETS
fn weights(row: u32, k4: u32) -> Fours {
  let fours = codes(row, k4);
  let scale = group_line(row, k4).x;
  return Fours(
//# for i in 0..LOAD
    fours[${i}] * scale,
//# end
  );
}
//# end
//# if LOAD == 1
fn weight4(row: u32, k4: u32) -> vec4<f32> { return weights(row, k4)[0]; }
//# end
//# if LOAD == 2
struct Weight8 { first: vec4<f32>, second: vec4<f32> }
fn weight8(row: u32, k4: u32) -> Weight8 {
  let fours = weights(row, k4);
  return Weight8(fours[0], fours[1]);
}
//# end
