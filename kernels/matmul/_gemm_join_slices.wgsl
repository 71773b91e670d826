  // Row r of every lane at a time: all slices write their sums, one adds them up.
  for (var r = 0u; r < ${TILE_R}u && r * LANES_R < rows - r0; r++) {
${rowSums}
    workgroupBarrier();  // nobody reads the inputs or the row before any more
//# for q in 0..W / 4
    put_sums(index * ${W / 4}u + ${q}u,
      vec4(sum${4 * q}, sum${4 * q + 1}, sum${4 * q + 2}, sum${4 * q + 3}));
//# end
    workgroupBarrier();  // the row's sums are there
    if (slice == r % SLICES) {
//# for q in 0..W / 4
      let t${q} = slice_sum(lane, ${q}u);
//# end
//# for n in 0..TILE_N
      finish(r0 + lane_r + r * LANES_R, n0 + lane_m + ${n}u * LANES_M, rows,
        t${Math.floor(n / 4)}[${n % 4}], t${Math.floor((n + W - TILE_N) / 4)}[${(n + W - TILE_N) % 4}]);
//# end
    }
  }
