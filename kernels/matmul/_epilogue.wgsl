// epilogue: stores, adds or gates a product's sums; the same in all kernels of products.
//
// A kernel that includes this declares N, and y as array<f32>; EPILOGUE, Y_STRIDE and Y_FIRST are
// its constants: how a sum is stored, and where the rows of y and the outputs of this shard of the
// matrix lie.

/// Stores output n of row r from its sum, and with "silu" the sum of weight row N + n.
fn finish(r: u32, n: u32, rows: u32, sum: f32, up: f32) {
  if (r >= rows || n >= N) { return; }
  let at = r * ${Y_STRIDE}u + ${Y_FIRST}u + n;
//# if EPILOGUE == "store"
  y[at] = sum;
//# end
//# if EPILOGUE == "add"
  y[at] += sum;
//# end
//# if EPILOGUE == "silu"
  y[at] = sum / (1.0 + exp(-sum)) * up;
//# end
}
