// Loads consecutive weights of any element type as f32. The kernel declares
//   w     array<Weight>, rows of K4 fours, or for a quantized type QuantizedLayout's words; with
//         WEIGHT_TEXTURE a texture_storage_2d<rgba32uint, read> as panel_weights.wgsl fills it
//   K4    u32, the row length in fours
// and says how many fours it LOADs at once. With LOAD > 1, K4 and k4 are multiples of LOAD, which
// is at most 2, 4 for 8-bit codes and 8 for 4-bit codes: 16 bytes, the widest load of a lane.
//   weights(row, k4)          LOAD fours of weights
//   weight4, weight8          the same by name, where LOAD is 1 or 2
//   codes(row, k4)            quantized: of codes, for sums that are scaled once per group
//   group_scale(row, k4)      quantized: their scale
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
  let at = row * K4 + k4;
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
  let words = w[row * (K4 / 2u) + (k4 >> 1u)];
  return Fours(widened(words.xy), widened(words.zw));
}
//# end
//# if LOAD == 1 && !WEIGHT_TEXTURE
alias Weight = vec2<u32>;
fn weights(row: u32, k4: u32) -> Fours { return Fours(widened(w[row * K4 + k4])); }
//# end
//# end
//# if WEIGHT_BITS > 0
//# if WEIGHT_TEXTURE
/// A load from a texture is one word or the four of a texel.
fn code_words(row: u32, i: u32) -> ${LOAD_WORDS == 1 ? "u32" : "vec4<u32>"} {
  return piece(row, i >> 2u)${LOAD_WORDS == 1 ? "[i & 3u]" : ""};
}
fn scale_word(row: u32, i: u32) -> u32 { return piece(row, ${WEIGHT_ROW / 4}u + (i >> 2u))[i & 3u]; }
//# else
//# if LOAD_WORDS == 1
alias Weight = u32;
fn word(i: u32) -> u32 { return w[i]; }
//# else
alias Weight = vec${LOAD_WORDS}<u32>;
fn word(i: u32) -> u32 { return w[i / ${LOAD_WORDS}u][i % ${LOAD_WORDS}u]; }
//# end
/// LOAD_WORDS words of a row's codes from the i-th on.
fn code_words(row: u32, i: u32) -> Weight { return w[(row * ${WEIGHT_ROW}u + i) / ${LOAD_WORDS}u]; }
fn scale_word(row: u32, i: u32) -> u32 {
  return word(${WEIGHT_SCALES}u + row * ${WEIGHT_SCALE_ROW}u + i);
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
//# else
// Inputs 0 to 3 of a word are the low halves of its bytes, 4 to 7 the high ones.
fn code4(halves: u32) -> vec4<f32> {
  let codes = vec4<f32>(unpack4xU8(halves & 0x0f0f0f0fu));
  return codes - 8.0;
}
fn codes(row: u32, k4: u32) -> Fours {
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
//# end
fn group_scale(row: u32, k4: u32) -> f32 {
  let group = k4 / ${WEIGHT_GROUP / 4}u;
  let pair = scale_word(row, group >> 1u);
  return unpack2x16float(pair >> ((group & 1u) << 4u)).x;
}
//# end
//# if WEIGHT_BITS > 0
fn weights(row: u32, k4: u32) -> Fours {
  let fours = codes(row, k4);
  let scale = group_scale(row, k4);
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
