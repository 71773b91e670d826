// epilogue: what becomes of a product's sums; the same in all kernels of products.
//
//   s = sum_k x[r, k] * w[n, k], with HAS_BIAS + bias[n]; u the same of weight row N + n
//   y[r, n]  = cap(SCALE * s)                        EPILOGUE "store"
//   y[r, n] += SCALE * s                             "add", to the residual
//   y[r, n]  = f(s) * u                              GATED: EPILOGUE is f, w the gates over the ups
//   silu(g)      = g / (1 + exp(-g))                               (Shazeer 2020, 2002.05202)
//   gelu(g)      = g / 2 * (1 + erf(g / sqrt(2)))                  (Hendrycks 2016, 1606.08415)
//   gelu_tanh(g) = g / 2 * (1 + tanh(sqrt(2 / pi) * (g + 0.044715 * g^3)))          (the same)
//   clamped_swish(g) * u stands for g' / (1 + exp(-1.702 g')) * (u' + 1) with g' = min(g, L) and
//   u' = min(max(u, -L), L), L = GATE_LIMIT                        (gpt-oss, 2508.10925)
//   cap(l) = SOFT_CAP * tanh(l / SOFT_CAP); l where SOFT_CAP is 0 or l is not finite
//
// A kernel that includes this declares y as array<f32>, and with HAS_BIAS bias as array<f32>: of
// all outputs of the matrix, and after them of all ups. EPILOGUE, GATED, HAS_BIAS, SCALE, SOFT_CAP,
// GATE_LIMIT and EXPERTS are its constants, and PRODUCT_ARGS its arguments: of these Y_STRIDE and
// Y_FIRST say where the rows of y and the outputs of this shard of the matrix lie. With EXPERTS the
// kernel says where a row of y and the biases lie: output_row(r), bias_of(n, 1 for an up).
//
// tanh and erf go by exp, with arguments whose exp is finite: WGSL promises no more than 1e-5 of
// its own tanh, which overflows to NaN on some drivers.
// Reference: epilogue.ts; f is off by less than 1e-6 |g|, cap by less than 1e-6 * SOFT_CAP.

//# if SCALE != 1
const SCALE: f32 = ${SCALE};
//# end

/// Stores output n of row r from its sum, and where it is gated the sum of weight row N + n.
fn finish(r: u32, n: u32, rows: u32, sum: f32, up: f32) {
  if (r >= rows || n >= args.N) { return; }
//# if EXPERTS
  let at = output_row(r) * args.Y_STRIDE + n;
//# else
  let at = r * args.Y_STRIDE + args.Y_FIRST + n;
//# end
//# if HAS_BIAS && EXPERTS
  let s = sum + bias[bias_of(n, 0u)];
//# end
//# if HAS_BIAS && !EXPERTS
  let s = sum + bias[args.Y_FIRST + n];
//# end
//# if !HAS_BIAS
  let s = sum;
//# end
//# if HAS_BIAS && GATED && EXPERTS
  let u = up + bias[bias_of(n, 1u)];
//# end
//# if HAS_BIAS && GATED && !EXPERTS
  let u = up + bias[args.Y_STRIDE + args.Y_FIRST + n];
//# end
//# if !(HAS_BIAS && GATED)
  let u = up;
//# end
//# if EPILOGUE == "store" && SOFT_CAP > 0
  y[at] = soft_cap(s${SCALE == 1 ? "" : " * SCALE"});
//# end
//# if EPILOGUE == "store" && SOFT_CAP == 0
  y[at] = s${SCALE == 1 ? "" : " * SCALE"};
//# end
//# if EPILOGUE == "add"
  y[at] += s${SCALE == 1 ? "" : " * SCALE"};
//# end
//# if EPILOGUE == "silu"
  y[at] = s / (1.0 + exp(-s)) * u;
//# end
//# if EPILOGUE == "gelu" || EPILOGUE == "gelu_tanh"
  y[at] = ${EPILOGUE}(s) * u;
//# end
//# if EPILOGUE == "clamped_swish"
  let g = min(s, ${GATE_LIMIT});
  y[at] = g / (1.0 + exp(-1.702 * g)) * (clamp(u, ${-GATE_LIMIT}, ${GATE_LIMIT}) + 1.0);
//# end
}
//# if EPILOGUE == "gelu_tanh"

/// (1 + tanh(z)) / 2 = 1 / (1 + exp(-2 z)).
fn gelu_tanh(g: f32) -> f32 {
  let z = ${Math.sqrt(2 / Math.PI)} * g * (1.0 + 0.044715 * g * g);
  return g / (1.0 + exp(min(-2.0 * z, 87.0)));
}
//# end
//# if EPILOGUE == "gelu"

/// 1 - erf(z) for z >= 0 by a polynomial in 1 / (1 + p z), which is off by less than 1.5e-7
/// (Abramowitz and Stegun 1964, "Handbook of Mathematical Functions", 7.1.26).
fn gelu(g: f32) -> f32 {
  let z = ${Math.SQRT1_2} * min(abs(g), 12.0);
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let p = t * (0.254829592
    + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let tail = 0.5 * g * p * exp(-z * z);
  return select(tail, g - tail, g > 0.0);
}
//# end
//# if SOFT_CAP > 0

/// tanh(z) = (1 - exp(-2 z)) / (1 + exp(-2 z)). A logit that has overflowed stays as it is, told by
/// its bits, for whoever draws to see.
fn soft_cap(l: f32) -> f32 {
  let t = exp(abs(l) * ${-2 / SOFT_CAP});
  let capped = sign(l) * (${SOFT_CAP} * (1.0 - t) / (1.0 + t));
  return select(capped, l, (bitcast<u32>(l) & 0x7fffffffu) >= 0x7f800000u);
}
//# end
