/// The weight row that is row `m` of the tile: where GATED, OUTPUTS gates and then as many ups.
fn weight_row(n0: u32, m: u32) -> u32 {
//# if GATED
  return min(n0 + m % ${OUTPUTS}u, args.N - 1u) + m / ${OUTPUTS}u * args.N;
//# else
  return min(n0 + m, args.N - 1u);
//# end
}
