// What the definitions of matrix products sum up, fast enough for tests with a model's sizes.

/** `sums[r] = rows[r] . w`: a weight is loaded once for two rows. */
export function dotProducts(
  rows: readonly Float32Array[],
  w: Float32Array,
  sums: Float64Array,
): void {
  let r = 0;
  for (; r + 1 < rows.length; r += 2) dotTwo(rows[r]!, rows[r + 1]!, w, sums, r);
  if (r < rows.length) sums[r] = dotProduct(rows[r]!, 0, w);
}

/** `sum_k x[offset + k] * w[k]`, in four sums, which a CPU's pipeline overlaps. */
export function dotProduct(x: Float32Array, offset: number, w: Float32Array): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  for (let k = 0; k < w.length; k += 4) {
    a += x[offset + k]! * w[k]!;
    b += x[offset + k + 1]! * w[k + 1]!;
    c += x[offset + k + 2]! * w[k + 2]!;
    d += x[offset + k + 3]! * w[k + 3]!;
  }
  return a + b + (c + d);
}

/** Two of {@link dotProduct} over the same weights, with the same bits, as sums `r` and `r + 1`. */
function dotTwo(
  x: Float32Array,
  y: Float32Array,
  w: Float32Array,
  sums: Float64Array,
  r: number,
): void {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let e = 0;
  let f = 0;
  let g = 0;
  let h = 0;
  const K = Math.min(x.length, y.length, w.length);
  for (let k = 0; k < K; k += 4) {
    const w0 = w[k]!;
    a += x[k]! * w0;
    e += y[k]! * w0;
    const w1 = w[k + 1]!;
    b += x[k + 1]! * w1;
    f += y[k + 1]! * w1;
    const w2 = w[k + 2]!;
    c += x[k + 2]! * w2;
    g += y[k + 2]! * w2;
    const w3 = w[k + 3]!;
    d += x[k + 3]! * w3;
    h += y[k + 3]! * w3;
  }
  sums[r] = a + b + (c + d);
  sums[r + 1] = e + f + (g + h);
}
