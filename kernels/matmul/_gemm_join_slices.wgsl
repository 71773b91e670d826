  // Row ${r} of every lane: all slices write their sums, one adds them up.
  workgroupBarrier();  // nobody reads the inputs or the row before any more
//# for q in 0..TILE_M / 4
  put_sums(index * ${TILE_M / 4}u + ${q}u,
    vec4(a${r}_${4 * q}, a${r}_${4 * q + 1}, a${r}_${4 * q + 2}, a${r}_${4 * q + 3}));
//# end
  workgroupBarrier();  // the row's sums are there
  if (slice == ${r % SLICES}u) {
//# for q in 0..TILE_M / 4
    let t${q} = slice_sum(lane, ${q}u);
//# end
//# for n in 0..TILE_N
    finish(r0 + lane_r + ${r}u * LANES_R, n0 + lane_m + ${n}u * LANES_M, rows,
      t${Math.floor(n / 4)}[${n % 4}], t${Math.floor((n + TILE_M - TILE_N) / 4)}[${(n + TILE_M - TILE_N) % 4}]);
//# end
  }
