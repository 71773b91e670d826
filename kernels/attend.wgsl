// The inner loop of both attention kernels: one lane attends one query row to positions [begin, end).
//
// Expects `kv_head`, `table` (word of the sequence's block table), `begin`, `end` (begin < end, begin a
// multiple of POSITIONS) and q0.. (the query, scaled, in registers); leaves the unnormalized output in
// o0.., the maximum in `peak` and the sum of weights in `total`. Online softmax after Milakov 2018
// (1805.02867), over POSITIONS positions at a time: they share a block, since POSITIONS divides its
// size. Positions past `end` repeat the last one with weight 0, so that nothing unwritten is read.
  var peak = -3.4e38;
  var total = 0.0;
//# for d in 0..D/4
  var o${d} = vec4(0.0);
//# end
  for (var p = begin; p < end; p += ${POSITIONS}u) {
    let block = step[table + p / ${BLOCK_SIZE}u];
    let k_base = ((block * ${2 * G}u + kv_head) * ${BLOCK_SIZE}u + p % ${BLOCK_SIZE}u) * ${D / 4}u;
    let v_base = k_base + ${G * BLOCK_SIZE * D / 4}u;
    let last = end - 1u - p;
//# for i in 0..POSITIONS
    let r${i} = min(${i}u, last) * ${D / 4}u;
    var s${i} = 0.0;
//# for d in 0..D/4
    s${i} += dot(q${d}, kv4(kv[k_base + r${i} + ${d}u]));
//# end
    s${i} = select(-3.4e38, s${i}, ${i}u <= last);
//# end
    var new_peak = peak;
//# for i in 0..POSITIONS
    new_peak = max(new_peak, s${i});
//# end
    let fade = exp(peak - new_peak);
    peak = new_peak;
    total *= fade;
//# for i in 0..POSITIONS
    let e${i} = select(0.0, exp(s${i} - new_peak), ${i}u <= last);
    total += e${i};
//# end
//# for d in 0..D/4
    o${d} *= fade;
//# for i in 0..POSITIONS
    o${d} += e${i} * kv4(kv[v_base + r${i} + ${d}u]);
//# end
//# end
  }
