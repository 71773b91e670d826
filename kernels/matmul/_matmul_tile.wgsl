// The body of matmul and norm_matmul: a register tile of TILE_R rows by TILE_N outputs per lane,
// from W weight rows (twice TILE_N where GATED).
//
// A lane takes inputs in spans of SPAN fours, RUN of them unrolled and LOAD of them loaded at a
// time, and sums each span by itself, but for plain weights without slices, where spans go on with
// one sum. Quantized weights enter these sums as their codes; a span lies in one group, and the
// group's scale multiplies its sum once; where groups have an offset, it multiplies the span's sum
// of inputs. How lanes share the work:
//   SLICES 1              a lane sums all inputs of its tile, whose outputs are LANES apart; no
//                         barrier, for software adapters
//     with SUBGROUPS      each lane loads a four of some row's inputs for the whole subgroup,
//                         since a load by all lanes costs as much as one address per lane
//   SLICES > 1            SLICES lanes share a tile and take every SLICES-th span, so that their
//                         loads are adjacent, and add up through shared memory
//     with SUBGROUPS      the lanes of a subgroup do, of any size, and add up without barrier; the
//                         workgroup's subgroups take its LANES tiles in turn
// With EXPERTS (kernels/experts) the rows are those of an entry of a list of tiles, and their
// inputs and weight rows lie where the kernel says.
// The order of additions depends on SPAN (not where spans share a sum), SLICES and the subgroup
// size alone, never on the other rows of the step.

fn row_fours() -> u32 { return args.K / 4u; }

const LANES: u32 = ${LANES}u;
const SLICES: u32 = ${SLICES}u;
const THREADS: u32 = ${LANES * SLICES}u;
const RUN: u32 = ${RUN}u;
//# if SLICES == 1 && SPAN > RUN
/// A whole group.
fn span_fours() -> u32 { return 8u << args.WEIGHT_GROUP_SHIFT; }
//# else
fn span_fours() -> u32 { return ${SPAN}u; }
//# end

//# if NORM
var<workgroup> squares: array<f32, ${LANES * SLICES * TILE_R}>;
//# end

/// `subgroup_size` is not in `at`, whose other members differ by lane: a compiler that checks that
/// whole subgroups reach subgroup operations (Tint) judges a structure as one. 0 without subgroups.
fn tile(at: Invocation, subgroup_size: u32) {
//# if EXPERTS
  let entry = take_entry(at.workgroup_id.y);
  let r0 = entry.first;
  let rows = entry.end;
//# else
  let rows = step[args.ROWS_WORD];
  let r0 = at.workgroup_id.y * ${TILE_R}u;
//# end
  // No row is longer than x. Of an argument that alone bounds a loop, lavapipe compiles the kernel
  // again for each value, and again whenever it changes.
  let K4 = min(row_fours(), arrayLength(&x));
  let tile0 = (at.workgroup_id.z * at.groups.x + at.workgroup_id.x) * LANES;
  // Rows and outputs past the end repeat the last one; they are computed and not stored.
//# for r in 0..TILE_R
//# if GATHER
  let x${r} = step[step[STEP_DRAWS] + min(r0 + ${r}u, rows - 1u) * DRAW_WORDS + DRAW_ROW] * K4;
//# end
//# if EXPERTS
  let x${r} = input_row(min(r0 + ${r}u, rows - 1u)) * K4;
//# end
//# if !GATHER && !EXPERTS
  let x${r} = min(r0 + ${r}u, rows - 1u) * K4;
//# end
//# end
//# if NORM
  // As rms_norm does it with as many lanes, addition by addition.
//# for r in 0..TILE_R
  var q${r} = 0.0;
//# end
  for (var e = at.index; e < K4; e += THREADS) {
//# for r in 0..TILE_R
    let v${r} = x[x${r} + e];
    q${r} += dot(v${r}, v${r});
//# end
  }
//# for r in 0..TILE_R
  squares[${r}u * THREADS + at.index] = q${r};
  var t${r} = 0.0;
//# end
  workgroupBarrier();  // every lane reads every sum of squares
  for (var i = 0u; i < THREADS; i++) {
//# for r in 0..TILE_R
    t${r} += squares[${r}u * THREADS + i];
//# end
  }
//# for r in 0..TILE_R
  let d${r} = inverseSqrt(t${r} / f32(args.K) + ${EPS});
//# end
//# end
//# if SLICES > 1 && SUBGROUPS
  let slices = min(subgroup_size, THREADS);
  let slice = at.subgroup_lane;
  for (var first = 0u; first < LANES; first += THREADS / slices) {
    let lane = first + at.index / slices;
//# else
  let slices = SLICES;
//# if SLICES == 1
  let slice = 0u;
//# else
  let slice = at.index % SLICES;
//# end
  {
    let lane = at.index / SLICES;
//# end
//# if SLICES == 1
    // Neighbouring outputs in neighbouring lanes, as panel_weights has their rows.
    let n0 = tile0 * ${TILE_N}u + lane;
//# if !SUBGROUPS
    if (n0 >= args.N) { return; }
//# end
//# else
    let n0 = (tile0 + lane) * ${TILE_N}u;
//# end
//# for m in 0..W
//# if EXPERTS
    let w${m} = weight_row(min(n0 + ${m % TILE_N * STRIDE}u, args.N - 1u), ${m < TILE_N ? 0 : 1}u);
//# end
//# if !EXPERTS && WEIGHT_TEXTURE
    // A texture answers zero past its end.
    let w${m} = n0 + ${m % TILE_N * STRIDE}u + ${Math.floor(m / TILE_N)}u * args.N;
//# end
//# if !EXPERTS && !WEIGHT_TEXTURE
    let w${m} = min(n0 + ${m % TILE_N * STRIDE}u, args.N - 1u) + ${Math.floor(m / TILE_N)}u * args.N;
//# end
//# end
//# if SLICES == 1 && SUBGROUPS
//# if EXPERTS
    let x_row = input_row(min(r0 + at.subgroup_lane % ${TILE_R}u, rows - 1u));
//# else
    let x_row = min(r0 + at.subgroup_lane % ${TILE_R}u, rows - 1u);
//# end
    let x_lane = x_row * K4 + at.subgroup_lane / ${TILE_R}u;
//# end
//# for r in 0..TILE_R
//# for m in 0..W
    var a${r}_${m} = 0.0;
//# end
//# end
    for (var span = slice * span_fours(); span < K4; span += slices * span_fours()) {
//# for r in 0..TILE_R
//# if WEIGHT_OFFSETS
      var x_sum${r} = 0.0;
//# end
//# for m in 0..W
//# if SLICES == 1 && WEIGHT_BITS == 0
      var s${r}_${m} = a${r}_${m};
//# else
      var s${r}_${m} = 0.0;
//# end
//# end
//# end
//# if SPAN > RUN
      for (var k = span; k < min(span + span_fours(), K4); k += RUN) {
//# else
      {
        let k = span;
//# end
//# if SLICES == 1 && SUBGROUPS
//# for c in 0..Math.ceil(RUN * TILE_R / LANES)
        var p${c} = vec4(0.0);
        if (at.subgroup_lane < ${Math.min(LANES, RUN * TILE_R - c * LANES)}u) {
          p${c} = x[x_lane + k + ${c * LANES / TILE_R}u];
        }
//# end
//# end
//# for j in 0..RUN / LOAD
//# for m in 0..W
        let b${m}_${j} = ${WEIGHT_BITS > 0 ? "codes" : "weights"}(w${m}, k + ${LOAD * j}u);
//# end
//# if NORM
//# for i in 0..LOAD
        let g${j}_${i} = norm[k + ${LOAD * j + i}u];
//# end
//# end
//# for r in 0..TILE_R
//# for i in 0..LOAD
//# if SLICES == 1 && SUBGROUPS
        let v${r}_${j}_${i} =
          subgroupBroadcast(p${((LOAD * j + i) * TILE_R + r - ((LOAD * j + i) * TILE_R + r) % LANES) / LANES}, ${((LOAD * j + i) * TILE_R + r) % LANES}u);
//# else
//# if NORM
        let v${r}_${j}_${i} = x[x${r} + k + ${LOAD * j + i}u] * d${r} * g${j}_${i};
//# else
        let v${r}_${j}_${i} = x[x${r} + k + ${LOAD * j + i}u];
//# end
//# end
//# end
//# if WEIGHT_OFFSETS
//# for i in 0..LOAD
        x_sum${r} += dot(v${r}_${j}_${i}, vec4(1.0));
//# end
//# end
//# for m in 0..W
//# for i in 0..LOAD
        s${r}_${m} += dot(v${r}_${j}_${i}, b${m}_${j}[${i}]);
//# end
//# end
//# end
//# end
      }
//# if WEIGHT_BITS > 0
//# for m in 0..W
      let line${m} = group_line(w${m}, span);
//# end
//# end
//# for r in 0..TILE_R
//# for m in 0..W
//# if WEIGHT_BITS == 0
      a${r}_${m} ${SLICES == 1 ? "=" : "+="} s${r}_${m};
//# else
      a${r}_${m} += line${m}.x * s${r}_${m}${WEIGHT_OFFSETS ? " + line" + m + ".y * x_sum" + r : ""};
//# end
//# end
//# end
    }
//# if SLICES == 1
    for (var r = 0u; r < min(${TILE_R}u, rows - r0); r++) {
${rowSums}
//# for n in 0..TILE_N
      finish(r0 + r, n0 + ${n * STRIDE}u, rows, sum${n}, sum${n + W - TILE_N});
//# end
    }
//# else
//# if SUBGROUPS
//# for r in 0..TILE_R
//# for m in 0..W
    a${r}_${m} = subgroupAdd(a${r}_${m});
//# end
//# end
    if (lane < LANES) {
${shareSums}
    }
//# else
    let base = at.index * ${TILE_R * W}u;
//# for r in 0..TILE_R
//# for m in 0..W
    partial[base + ${r * W + m}u] = a${r}_${m};
//# end
//# end
    workgroupBarrier();  // the lanes of a tile now share out its sums
    for (var i = slice; i < ${TILE_R * TILE_N}u; i += SLICES) {
      let r = i / ${TILE_N}u;
      let n = i % ${TILE_N}u;
      var sum = 0.0;
      var up = 0.0;
      for (var s = 0u; s < SLICES; s++) {
        let p = (lane * SLICES + s) * ${TILE_R * W}u + r * ${W}u + n;
        sum += partial[p];
//# if W > TILE_N
        up += partial[p + ${W - TILE_N}u];
//# end
      }
      finish(r0 + r, n0 + n, rows, sum, up);
    }
//# end
//# end
  }
}
