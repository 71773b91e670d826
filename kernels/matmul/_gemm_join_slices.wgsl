  // Row r of every lane at a time, in a loop as in _matmul_tile.wgsl: all slices write their sums,
  // one adds them up.
  for (var r = 0u; r < ${TILE_R}u && r * LANES_R < rows - r0; r++) {
//# for m in 0..TILE_M
    var sum${m} = a0_${m};
//# for r in 1..TILE_R
    sum${m} = select(sum${m}, a${r}_${m}, r == ${r}u);
//# end
//# end
    workgroupBarrier();  // nobody reads the inputs or the row before any more
//# for q in 0..TILE_M / 4
    put_sums(index * ${TILE_M / 4}u + ${q}u,
      vec4(sum${4 * q}, sum${4 * q + 1}, sum${4 * q + 2}, sum${4 * q + 3}));
//# end
    workgroupBarrier();  // the row's sums are there
    if (slice == r % SLICES) {
//# for q in 0..TILE_M / 4
      let t${q} = slice_sum(lane, ${q}u);
//# end
//# for n in 0..TILE_N
      finish(r0 + lane_r + r * LANES_R, n0 + lane_m + ${n}u * LANES_M, rows,
        t${Math.floor(n / 4)}[${n % 4}], t${Math.floor((n + TILE_M - TILE_N) / 4)}[${(n + TILE_M - TILE_N) % 4}]);
//# end
    }
  }
