    // Row r of a lane's sums, picked in a loop over r: what becomes of sums, written out for each,
    // takes llvmpipe three times as long to compile as all the rest.
//# for m in 0..W
    var sum${m} = a0_${m};
//# for r in 1..TILE_R
    sum${m} = select(sum${m}, a${r}_${m}, r == ${r}u);
//# end
//# end
