// A workgroup attends HEADS queries of one KV head to one split of their context, on GPUs.
//
// Expects `lane`, `kv_head`, `table` (word of the sequence's block table), the scaled queries in `queries`,
// positions [begin, end) (begin < end, at most SPLIT_LEN, the same for all lanes), and in lanes below
// 8 * HEADS `limit`: query lane / 8 sees positions before it. Leaves `peak` and `total` of query h in lane
// 8 h, and its unnormalized output in the lanes below VECTOR_LOADS: part<h>_<u> is quad u of a load.
// What one query gets does not depend on the others, to the bit: positions it does not see add 0.
  let slice = lane % SLICES;
//# for j in 0..SPLIT_LEN * SLICES / LANES
  {
    let at = lane / SLICES + ${j}u * (LANES / SLICES);
    let p = min(begin + at, end - 1u);
    let block = block_of(table, p);
    let vector = kv_head * ${BLOCK_SIZE}u + p % ${BLOCK_SIZE}u;
    let k_base = block + vector * ${VECTOR_LOADS}u + slice;
//# for h in 0..HEADS
    var s${h} = 0.0;
//# end
//# for i in 0..VECTOR_LOADS / SLICES
    let k${i} = kv[k_base + ${i}u * SLICES];
//# end
//# for i in 0..VECTOR_LOADS / SLICES
//# for u in 0..LOAD_QUADS
    let x${i}_${u} = kv_quad${u}(k${i});
//# for h in 0..HEADS
    s${h} += dot(queries[(${i}u * SLICES + slice) * ${LOAD_QUADS}u + ${u + h * D / 4}u], x${i}_${u});
//# end
//# end
//# end
//# if KV_SCALED
    let scale = kv_scale(kv[block + ${2 * G * BLOCK_SIZE * VECTOR_LOADS}u + vector]);
//# else
    let scale = 1.0;
//# end
//# for h in 0..HEADS
    partial[(${h * SPLIT_LEN}u + at) * SLICES + slice] = s${h} * scale;
//# end
  }
//# end
  workgroupBarrier();  // the slices' scores are there

  let head = lane / 8u;
  let eighth = lane % 8u;
  let has_scores = lane < HEADS * 8u;
//# for i in 0..SPLIT_LEN / 8
  var s${i} = -3.4e38;
//# end
  if (has_scores) {
    var best = -3.4e38;
//# for i in 0..SPLIT_LEN / 8
    if (begin + ${8 * i}u + eighth < limit) {
      let at = (head * SPLIT_LEN + ${8 * i}u + eighth) * SLICES;
      s${i} = partial[at];
//# for k in 1..SLICES
      s${i} += partial[at + ${k}u];
//# end
      best = max(best, s${i});
    }
//# end
    eighths[lane].x = best;
  }
  workgroupBarrier();  // each eighth's largest score is there
  var peak = -3.4e38;
  var total = 0.0;
  if (has_scores) {
//# for k in 0..8
    peak = max(peak, eighths[head * 8u + ${k}u].x);
//# end
//# for i in 0..SPLIT_LEN / 8
    {
      let at = ${8 * i}u + eighth;
      let weight = select(0.0, exp(s${i} - peak), begin + at < limit);
      total += weight;
//# if KV_SCALED
      let p = min(begin + at, end - 1u);
      let vector = kv_head * ${BLOCK_SIZE}u + p % ${BLOCK_SIZE}u;
      let scale = kv_scale(kv[block_of(table, p) + ${(2 * G * VECTOR_LOADS + G) * BLOCK_SIZE}u + vector]);
      weights[head * PITCH + at] = weight * scale;
//# else
      weights[head * PITCH + at] = weight;
//# end
    }
//# end
    eighths[lane].y = total;
  }
  workgroupBarrier();  // the weights are there
  if (has_scores && eighth == 0u) {
    total = 0.0;
//# for k in 0..8
    total += eighths[lane + ${k}u].y;
//# end
  }

  let column = lane % ${VECTOR_LOADS}u;
  let row = lane / ${VECTOR_LOADS}u;
//# for h in 0..HEADS
//# for u in 0..LOAD_QUADS
  var o${h}_${u} = vec4(0.0);
//# end
//# end
  if (row < COLUMN_GROUPS) {
    for (var p = begin + row; p < end; p += 4u * COLUMN_GROUPS) {
//# for i in 0..4
      let p${i} = p + ${i}u * COLUMN_GROUPS;
      let c${i} = min(p${i}, end - 1u);
      let at${i} = select(SPLIT_LEN, p${i} - begin, p${i} < end);
      let v${i} = kv[block_of(table, c${i}) + (kv_head * ${BLOCK_SIZE}u + c${i} % ${BLOCK_SIZE}u) *
        ${VECTOR_LOADS}u + ${G * BLOCK_SIZE * VECTOR_LOADS}u + column];
//# end
//# for i in 0..4
//# for u in 0..LOAD_QUADS
      let y${i}_${u} = kv_quad${u}(v${i});
//# end
//# for h in 0..HEADS
      let w${i}_${h} = weights[${h}u * PITCH + at${i}];
//# for u in 0..LOAD_QUADS
      o${h}_${u} += w${i}_${h} * y${i}_${u};
//# end
//# end
//# end
    }
  }
//# for h in 0..HEADS
//# for u in 0..LOAD_QUADS
  keep_sum(lane, o${h}_${u});
  workgroupBarrier();  // one query's sums are there
  var part${h}_${u} = o${h}_${u};
  if (lane < ${VECTOR_LOADS}u) {
    for (var r = 1u; r < COLUMN_GROUPS; r++) {
      part${h}_${u} += kept_sum(lane + r * ${VECTOR_LOADS}u);
    }
  }
  workgroupBarrier();  // and read
//# end
//# end
