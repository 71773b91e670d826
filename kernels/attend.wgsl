// The inner loop of both attention kernels: one lane attends one query row to positions [begin, end).
//
// Expects `kv_head`, `table` (word of the sequence's block table), `begin`, `end` (begin < end, begin a
// multiple of POSITIONS) and q0.. (the query, scaled, in registers); leaves the unnormalized output in
// o0.., the maximum in `peak` and the sum of weights in `total`. Online softmax after Milakov 2018
// (1805.02867), over POSITIONS positions at a time: they share a block, since POSITIONS divides its
// size. Positions past `end` repeat the last one with weight 0, so that nothing unwritten is read.
// A quantized position's scales multiply its score and its weight, not its elements.
  var peak = -3.4e38;
  var total = 0.0;
//# for d in 0..D/4
  var o${d} = vec4(0.0);
//# end
  for (var p = begin; p < end; p += ${POSITIONS}u) {
    let block = step[table + p / ${BLOCK_SIZE}u] * ${BLOCK_LOADS}u;
    let vector = kv_head * ${BLOCK_SIZE}u + p % ${BLOCK_SIZE}u;
    let k_base = block + vector * ${VECTOR_LOADS}u;
    let v_base = k_base + ${G * BLOCK_SIZE * VECTOR_LOADS}u;
    let last = end - 1u - p;
//# for i in 0..POSITIONS
    let i${i} = min(${i}u, last);
    let r${i} = i${i} * ${VECTOR_LOADS}u;
    var s${i} = 0.0;
//# for w in 0..VECTOR_LOADS
//# for u in 0..LOAD_QUADS
    s${i} += dot(q${w * LOAD_QUADS + u}, kv_quad${u}(kv[k_base + r${i} + ${w}u]));
//# end
//# end
//# if KV_SCALED
    s${i} *= kv_scale(kv[block + ${2 * G * BLOCK_SIZE * VECTOR_LOADS}u + vector + i${i}]);
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
//# if KV_SCALED
    let w${i} = e${i} * kv_scale(kv[block + ${(2 * G * VECTOR_LOADS + G) * BLOCK_SIZE}u + vector + i${i}]);
//# else
    let w${i} = e${i};
//# end
//# end
//# for w in 0..VECTOR_LOADS
//# for u in 0..LOAD_QUADS
    o${w * LOAD_QUADS + u} *= fade;
//# for i in 0..POSITIONS
    o${w * LOAD_QUADS + u} += w${i} * kv_quad${u}(kv[v_base + r${i} + ${w}u]);
//# end
//# end
//# end
  }
