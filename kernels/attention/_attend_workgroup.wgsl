// A workgroup attends HEADS queries of one KV head to one split of their context, on GPUs.
//
// Expects `lane`, `kv_head`, `table` (word of the sequence's block table), the scaled queries in
// `queries`, positions [begin, end) (begin < end, at most SPLIT_LEN, the same for all lanes), and
// in lanes below SCORE_LANES * HEADS `limit`: query lane / SCORE_LANES sees positions before it.
// Leaves `max_score` and `total` of query `head` in a lane that `leads` it, and in the lanes of row
// 0 the unnormalized outputs: sum<h>_<u> is query h's, quad u of load `column_of(lane)`. In a loop,
// a barrier has to come before the next use. What one query gets does not depend on the others, to
// the bit: positions it does not see add 0.
//
// With WINDOW > 0 it expects `first`, the first_read of the lane's query, where it expects `limit`,
// and for all lanes `first_live`, the least of all queries'. What none reads is not loaded.
//
// SHUFFLE_LANES > 1: so many neighbouring lanes lie in one subgroup, whatever its size, and add up
// by shuffles: the order of additions depends on SHUFFLE_LANES alone. The COLUMN_GROUPS lanes of a
// column are then neighbours. For heads of 128 in f16, four queries and splits of 64 (32 KiB of K
// and V) that makes 2 barriers in place of 11 and 3 KiB of shared memory in place of 7.3, so that
// twice as many workgroups fit where it is scarce; each lane does 56 shuffles to 512 multiply-adds.
// Every byte of K and V is still read once, of K in runs of 32 bytes, of V in runs of 64 (subgroups
// of 32 lanes) in place of 256. Lanes are taken to lie in subgroups in their order.
  let slice = lane % SLICES;
  // Two positions at a time, which share what is loaded of the queries.
//# for g in 0..Math.ceil(SPLIT_LEN * SLICES / LANES / 2)
  {
//# for j in 2 * g..Math.min(2 * g + 2, SPLIT_LEN * SLICES / LANES)
    let at${j} = lane / SLICES + ${j}u * (LANES / SLICES);
//# if WINDOW > 0
    let p${j} = live_position(min(begin + at${j}, end - 1u), first_live);
//# else
    let p${j} = min(begin + at${j}, end - 1u);
//# end
    let block${j} = block_of(table, p${j});
    let vector${j} = kv_head * ${BLOCK_SIZE}u + p${j} % ${BLOCK_SIZE}u;
    let k_base${j} = block${j} + vector${j} * ${VECTOR_LOADS}u + slice;
//# for h in 0..HEADS
    var s${j}_${h} = 0.0;
//# end
//# for i in 0..VECTOR_LOADS / SLICES
    let k${j}_${i} = kv[k_base${j} + ${i}u * SLICES];
//# end
//# end
//# for i in 0..VECTOR_LOADS / SLICES
//# for u in 0..LOAD_QUADS
//# for j in 2 * g..Math.min(2 * g + 2, SPLIT_LEN * SLICES / LANES)
    let x${j}_${i}_${u} = kv_quad${u}(k${j}_${i});
//# end
//# for h in 0..HEADS
    let q${h}_${i}_${u} = queries[(${i}u * SLICES + slice) * ${LOAD_QUADS}u + ${u + h * D / 4}u];
//# for j in 2 * g..Math.min(2 * g + 2, SPLIT_LEN * SLICES / LANES)
    s${j}_${h} += dot(q${h}_${i}_${u}, x${j}_${i}_${u});
//# end
//# end
//# end
//# end
//# for j in 2 * g..Math.min(2 * g + 2, SPLIT_LEN * SLICES / LANES)
//# if KV_SCALED
    let scale${j} = kv_scale(kv[block${j} + ${2 * G * BLOCK_SIZE * VECTOR_LOADS}u + vector${j}]);
//# else
    let scale${j} = 1.0;
//# end
//# if SHUFFLE_LANES > 1
//# for h in 0..HEADS
//# for k in 0..Math.log2(SLICES)
    s${j}_${h} += subgroupShuffleXor(s${j}_${h}, ${1 << k}u);
//# end
    if (slice == ${h % SLICES}u) { weights[${h}u * PITCH + at${j}] = s${j}_${h} * scale${j}; }
//# end
//# else
//# for h in 0..HEADS
    partial[(${h * SPLIT_LEN}u + at${j}) * SLICES + slice] = s${j}_${h} * scale${j};
//# end
//# end
//# end
  }
//# end
  workgroupBarrier();  // the scores are there

  let head = lane / SCORE_LANES;
  let share = lane % SCORE_LANES;
  let has_scores = head < HEADS;
  var max_score = -3.4e38;
  var total = 0.0;
//# for i in 0..SPLIT_LEN / SCORE_LANES
  var s${i} = -3.4e38;
//# if WINDOW > 0
  let sees${i} = begin + ${SCORE_LANES * i}u + share < limit &&
    is_read(begin + ${SCORE_LANES * i}u + share, first);
//# else
  let sees${i} = begin + ${SCORE_LANES * i}u + share < limit;
//# end
  if (has_scores && sees${i}) {
//# if SHUFFLE_LANES > 1
    // The place of its own weight.
    s${i} = weights[head * PITCH + ${SCORE_LANES * i}u + share];
//# else
    let at = (head * SPLIT_LEN + ${SCORE_LANES * i}u + share) * SLICES;
    s${i} = partial[at];
//# for k in 1..SLICES
    s${i} += partial[at + ${k}u];
//# end
//# end
//# if SOFT_CAP > 0
    s${i} = soft_cap(s${i});
//# end
    max_score = max(max_score, s${i});
  }
//# end
//# if SHUFFLE_LANES > 1
//# for k in 0..Math.log2(SCORE_LANES)
  max_score = max(max_score, subgroupShuffleXor(max_score, ${1 << k}u));
//# end
//# else
  if (has_scores) { shares[lane].x = max_score; }
  workgroupBarrier();  // each share's largest score is there
  if (has_scores) {
//# for k in 0..SCORE_LANES
    max_score = max(max_score, shares[head * SCORE_LANES + ${k}u].x);
//# end
  }
//# end
  if (has_scores) {
//# for i in 0..SPLIT_LEN / SCORE_LANES
    {
      let at = ${SCORE_LANES * i}u + share;
      let weight = select(0.0, exp(s${i} - max_score), sees${i});
      total += weight;
//# if KV_SCALED
//# if WINDOW > 0
      let p = live_position(min(begin + at, end - 1u), first_live);
//# else
      let p = min(begin + at, end - 1u);
//# end
      let vector = kv_head * ${BLOCK_SIZE}u + p % ${BLOCK_SIZE}u;
      let scale = kv_scale(kv[block_of(table, p) + ${(2 * G * VECTOR_LOADS + G) * BLOCK_SIZE}u + vector]);
      weights[head * PITCH + at] = weight * scale;
//# else
      weights[head * PITCH + at] = weight;
//# end
    }
//# end
//# if SHUFFLE_LANES == 1
    shares[lane].y = total;
//# end
  }
  workgroupBarrier();  // the weights are there
  let leads = has_scores && share == 0u;
//# if SHUFFLE_LANES > 1
//# for k in 0..Math.log2(SCORE_LANES)
  total += subgroupShuffleXor(total, ${1 << k}u);
//# end
//# else
  if (leads) {
    total = 0.0;
//# for k in 0..SCORE_LANES
    total += shares[lane + ${k}u].y;
//# end
  }
//# end

  let column = column_of(lane);
  let row = row_of(lane);
//# for h in 0..HEADS
//# for u in 0..LOAD_QUADS
  var o${h}_${u} = vec4(0.0);
//# end
//# end
  if (row < COLUMN_GROUPS) {
    for (var p = begin + row; p < end; p += 4u * COLUMN_GROUPS) {
//# for i in 0..4
      let p${i} = p + ${i}u * COLUMN_GROUPS;
//# if WINDOW > 0
      let c${i} = live_position(min(p${i}, end - 1u), first_live);
//# else
      let c${i} = min(p${i}, end - 1u);
//# end
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
//# if SHUFFLE_LANES > 1
//# for h in 0..HEADS
//# for u in 0..LOAD_QUADS
  var sum${h}_${u} = o${h}_${u};
//# for k in 0..Math.log2(COLUMN_GROUPS)
  sum${h}_${u} += subgroupShuffleXor(sum${h}_${u}, ${1 << k}u);
//# end
//# end
//# end
//# else
  // As many sums at a time as there is room for, since each time takes two barriers. The bound of
  // the loop is none that lavapipe knows: it would write out all of these loads, and compile for
  // seconds.
  let groups = min(COLUMN_GROUPS, arrayLength(&kv));
//# for g in 0..Math.ceil(HEADS * LOAD_QUADS / KEPT_SUMS)
//# for i in g * KEPT_SUMS..Math.min((g + 1) * KEPT_SUMS, HEADS * LOAD_QUADS)
  var sum${Math.floor(i / LOAD_QUADS)}_${i % LOAD_QUADS} = o${Math.floor(i / LOAD_QUADS)}_${i % LOAD_QUADS};
  keep_sum(${i % KEPT_SUMS}u * LANES + lane, o${Math.floor(i / LOAD_QUADS)}_${i % LOAD_QUADS});
//# end
  workgroupBarrier();  // these sums are there
  if (row == 0u) {
    for (var r = 1u; r < groups; r++) {
//# for i in g * KEPT_SUMS..Math.min((g + 1) * KEPT_SUMS, HEADS * LOAD_QUADS)
      sum${Math.floor(i / LOAD_QUADS)}_${i % LOAD_QUADS} += kept_sum(${i % KEPT_SUMS}u * LANES + lane + r * ${VECTOR_LOADS}u);
//# end
    }
  }
  workgroupBarrier();  // and read
//# end
//# end
