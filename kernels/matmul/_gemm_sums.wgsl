  // The end of _gemm_tile.wgsl, and how sums of slices meet in what its inputs were staged in.
//# end
//# end
}

//# if SLICES > 1
fn put_sums(at: u32, sums: vec4<f32>) { x_tile[at] = sums; }

/// The sums of one row's fours `q` over all slices, in the order of slices.
fn slice_sum(lane: u32, q: u32) -> vec4<f32> {
  var sum = x_tile[lane * ${TILE_M / 4}u + q];
//# for s in 1..SLICES
  sum += x_tile[(lane + ${s}u * LANES_R * LANES_M) * ${TILE_M / 4}u + q];
//# end
  return sum;
}
//# end
