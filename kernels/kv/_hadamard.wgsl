// The orthonormal Walsh-Hadamard transform of a lane's registers x0, x1, ...: LANE_DIMS elements,
// each block of HADAMARD for itself (hadamard.ts).
//# for q in 0..LANE_DIMS / 4
  x${q} *= ${Math.fround(1 / Math.sqrt(HADAMARD))};
  x${q} = vec4(x${q}.x + x${q}.y, x${q}.x - x${q}.y, x${q}.z + x${q}.w, x${q}.z - x${q}.w);
  x${q} = vec4(x${q}.xy + x${q}.zw, x${q}.xy - x${q}.zw);
//# end
//# for s in 0..Math.log2(HADAMARD / 4)
//# for i in 0..LANE_DIMS / 8
  let low${s}_${i} = x${(i >> s << s) + i};
  x${(i >> s << s) + i} = low${s}_${i} + x${(i >> s << s) + i + (1 << s)};
  x${(i >> s << s) + i + (1 << s)} = low${s}_${i} - x${(i >> s << s) + i + (1 << s)};
//# end
//# end
