// The inner loop of both attention kernels: one lane attends HEADS query rows to positions [begin,
// end).
//
// Expects `kv_head`, `table` (word of the sequence's block table), `begin`, `end` (begin < end,
// begin a multiple of POSITIONS), `limit` and q0_0.. (query row h in q<h>_0.., scaled, in
// registers); leaves the unnormalized output in o<h>_0.., the maximum in `max<h>` and the sum of
// weights in `total<h>`. Online softmax after Milakov 2018 (1805.02867), over POSITIONS positions
// at a time: they share a block, since POSITIONS divides its size. Positions in [end, limit) have
// weight 0, and what lies past `limit` is not read: the last position is, in its place, with weight
// 0. A quantized position's scales multiply its score and its weight, not its elements.
//
// With WINDOW > 0 it expects `first`, the query's first_read, and `first_live`, the least of those
// of the lanes that share their loads: what no lane reads is skipped, and what this one does not
// read has weight 0, which changes no bit.
//
// SUBGROUPS: subgroups of eight lanes at least, all active, agree on kv_head, table, begin and
// limit. Each lane then loads a share of the POSITIONS vectors and broadcasts it, since
// where lanes are those of a CPU's SIMD vector a load by all of them costs eight times one lane's,
// even of the same address.
//# for h in 0..HEADS
  var max${h} = -3.4e38;
  var total${h} = 0.0;
//# for d in 0..D/4
  var o${h}_${d} = vec4(0.0);
//# end
//# end
//# if SUBGROUPS
//# for c in 0..Math.ceil(POSITIONS * VECTOR_LOADS / 8)
  let own${c} = subgroup_lane % 8u + ${8 * c}u;
//# end
//# end
//# if WINDOW > 0
  for (var p = skip_dead(begin, first_live, ${POSITIONS}u); p < limit;
    p = skip_dead(p + ${POSITIONS}u, first_live, ${POSITIONS}u)) {
//# else
  for (var p = begin; p < limit; p += ${POSITIONS}u) {
//# end
    let block = step[table + p / ${BLOCK_SIZE}u] * ${STRIDE_LOADS}u + ${LAYER_OFFSET_LOADS}u;
    let vector = kv_head * ${BLOCK_SIZE}u + p % ${BLOCK_SIZE}u;
    let k_base = block + vector * ${VECTOR_LOADS}u;
    let v_base = k_base + ${G * BLOCK_SIZE * VECTOR_LOADS}u;
    let last = limit - 1u - p;
//# if SUBGROUPS
//# for c in 0..Math.ceil(POSITIONS * VECTOR_LOADS / 8)
    let at${c} = min(own${c} / ${VECTOR_LOADS}u, min(last, ${POSITIONS - 1}u)) * ${VECTOR_LOADS}u + own${c} % ${VECTOR_LOADS}u;
    let k${c} = kv[k_base + at${c}];
    let v${c} = kv[v_base + at${c}];
//# for u in 0..LOAD_QUADS
    let k${c}_${u} = kv_quad${u}(k${c});
    let v${c}_${u} = kv_quad${u}(v${c});
//# end
//# end
//# if KV_SCALED
    let scaled = block + ${2 * G * BLOCK_SIZE * VECTOR_LOADS}u + vector + min(subgroup_lane % ${POSITIONS}u, last);
    let k_scale = kv_scale(kv[scaled]);
    let v_scale = kv_scale(kv[scaled + ${G * BLOCK_SIZE}u]);
//# end
//# end
//# for i in 0..POSITIONS
//# if !SUBGROUPS
    let i${i} = min(${i}u, last);
    let r${i} = i${i} * ${VECTOR_LOADS}u;
//# end
//# for h in 0..HEADS
    var s${i}_${h} = 0.0;
//# end
//# for w in 0..VECTOR_LOADS
//# if !SUBGROUPS
    let k${i}_${w} = kv[k_base + r${i} + ${w}u];
//# end
//# for u in 0..LOAD_QUADS
//# if SUBGROUPS
    let x${i}_${w}_${u} = subgroupBroadcast(k${Math.floor((i * VECTOR_LOADS + w) / 8)}_${u}, ${(i * VECTOR_LOADS + w) % 8}u);
//# else
    let x${i}_${w}_${u} = kv_quad${u}(k${i}_${w});
//# end
//# for h in 0..HEADS
    s${i}_${h} += dot(q${h}_${w * LOAD_QUADS + u}, x${i}_${w}_${u});
//# end
//# end
//# end
//# if KV_SCALED
//# if SUBGROUPS
    let k_scale${i} = subgroupBroadcast(k_scale, ${i}u);
    let v_scale${i} = subgroupBroadcast(v_scale, ${i}u);
//# else
    let scaled${i} = block + ${2 * G * BLOCK_SIZE * VECTOR_LOADS}u + vector + i${i};
    let k_scale${i} = kv_scale(kv[scaled${i}]);
    let v_scale${i} = kv_scale(kv[scaled${i} + ${G * BLOCK_SIZE}u]);
//# end
//# end
//# if WINDOW > 0
    let lives${i} = p + ${i}u < end && is_read(p + ${i}u, first);
//# else
    let lives${i} = p + ${i}u < end;
//# end
//# for h in 0..HEADS
//# if KV_SCALED
    s${i}_${h} *= k_scale${i};
//# end
//# if SOFT_CAP > 0
    s${i}_${h} = soft_cap(s${i}_${h});
//# end
    s${i}_${h} = select(-3.4e38, s${i}_${h}, lives${i});
//# end
//# end
//# for h in 0..HEADS
    var new_max${h} = max${h};
//# for i in 0..POSITIONS
    new_max${h} = max(new_max${h}, s${i}_${h});
//# end
    let rescale${h} = exp(max${h} - new_max${h});
    max${h} = new_max${h};
    total${h} *= rescale${h};
//# for i in 0..POSITIONS
    let e${i}_${h} = select(0.0, exp(s${i}_${h} - new_max${h}), lives${i});
    total${h} += e${i}_${h};
//# if KV_SCALED
    let w${i}_${h} = e${i}_${h} * v_scale${i};
//# else
    let w${i}_${h} = e${i}_${h};
//# end
//# end
//# end
//# for w in 0..VECTOR_LOADS
//# for u in 0..LOAD_QUADS
//# for h in 0..HEADS
    o${h}_${w * LOAD_QUADS + u} *= rescale${h};
//# end
//# end
//# for i in 0..POSITIONS
//# if !SUBGROUPS
    let v${i}_${w} = kv[v_base + r${i} + ${w}u];
//# end
//# for u in 0..LOAD_QUADS
//# if SUBGROUPS
    let y${i}_${w}_${u} = subgroupBroadcast(v${Math.floor((i * VECTOR_LOADS + w) / 8)}_${u}, ${(i * VECTOR_LOADS + w) % 8}u);
//# else
    let y${i}_${w}_${u} = kv_quad${u}(v${i}_${w});
//# end
//# for h in 0..HEADS
    o${h}_${w * LOAD_QUADS + u} += w${i}_${h} * y${i}_${w}_${u};
//# end
//# end
//# end
//# end
  }
