/// The weight row that is row `m` of the tile: with "silu", OUTPUTS gates and then as many ups.
fn weight_row(n0: u32, m: u32) -> u32 {
//# if EPILOGUE == "silu"
  return min(n0 + m % ${OUTPUTS}u, N - 1u) + m / ${OUTPUTS}u * N;
//# else
  return min(n0 + m, N - 1u);
//# end
}
