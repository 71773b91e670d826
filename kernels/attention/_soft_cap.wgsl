//# if SOFT_CAP > 0
/// SOFT_CAP * tanh(s / SOFT_CAP) (Gemma 2, 2408.00118); NaN stays NaN. Near 0 by its series, since
/// the difference of 1 and an exponential loses what small numbers have.
fn soft_cap(s: f32) -> f32 {
  let x = s * f32(${1 / SOFT_CAP});
  let x2 = x * x;
  let near = x * (1.0 - x2 * (${1 / 3} - x2 * (${2 / 15} - x2 * ${17 / 315})));
  let e = exp(-2.0 * abs(x));
  let far = sign(x) * (1.0 - e) / (1.0 + e);
  return f32(${SOFT_CAP}) * select(far, near, x2 < 0.0625);
}
//# end
