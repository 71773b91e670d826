    // All lanes of a tile have all its sums, and share out what becomes of them.
    for (var i = slice; i < ${TILE_R * TILE_N}u; i += slices) {
      var sum = a0_0;
      var up = a0_${W - TILE_N};
//# for i in 1..TILE_R * TILE_N
      sum = select(sum, a${Math.floor(i / TILE_N)}_${i % TILE_N}, i == ${i}u);
//# if W > TILE_N
      up = select(up, a${Math.floor(i / TILE_N)}_${i % TILE_N + W - TILE_N}, i == ${i}u);
//# end
//# end
      finish(r0 + i / ${TILE_N}u, n0 + i % ${TILE_N}u, rows, sum, up);
    }
