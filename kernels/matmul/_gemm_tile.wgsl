// The body of gemm and expert_gemm.
//
// Method: the textbook blocking of a matrix product (Volkov and Demmel 2008, "Benchmarking GPUs to
// tune dense linear algebra"). A workgroup computes a tile of ROWS rows by COLUMNS weight rows. It
// stages FOURS * 4 inputs of each at a time in shared memory, read from global memory once; a lane
// keeps TILE_R * W sums in registers. SLICES sets of lanes share the tile and take every
// SLICES-th four of the staged inputs, which gives a small tile lanes enough to keep loads in
// flight; their sums meet in shared memory at the end.
//
// Cost, per staged four and lane: TILE_R + W loads of 16 bytes for 4 * TILE_R *
// W multiply-adds; 16 for 256 at 8 x 8, 8 for 64 at 4 x 4. Shared memory feeds a
// multiprocessor 32 words per cycle to its 128 multiply-adds, and a row's load is one for the lanes
// beside each other: at 8 x 8 neither waits for the other, at 4 x 4 shared memory is the limit,
// which few rows hardly reach since global memory is before it. Global bytes per multiply-add of a
// 64 x 64 tile: (64 * 4 + 64 * 2) / (64 * 64) = 0.09 with f16 weights, mostly from the L2 cache.
// Registers at 8 x 8 and 64 x 64 x 32: 64 sums and 64 for loads in flight, some 150 with addresses,
// so 430 lanes on 65,536 registers: 6 to 7 workgroups, which hide each other's latency. Shared
// bytes: at most 16,384.
//
// Lanes beside each other take rows and outputs beside each other, and a staged row is one four
// longer than what it holds: so the eight addresses of a 128-byte access fall on different banks.
// Where w is f16 and so are the staged weights, nothing is rounded (a GPU may flush subnormal
// halves, here as anywhere); sums are always f32.
//
// With EXPERTS (kernels/experts) the rows are those of an entry of a list of tiles, and their
// inputs and weight rows lie where the kernel says.

fn row_fours() -> u32 { return args.K / 4u; }

const FOURS: u32 = ${FOURS}u;
const PITCH: u32 = ${FOURS + 1}u;
const SLICES: u32 = ${SLICES}u;
/// Lanes along the outputs and along the rows of one slice.
const LANES_M: u32 = ${COLUMNS / W}u;
const LANES_R: u32 = ${ROWS / TILE_R}u;

var<workgroup> x_tile: array<vec4<f32>, ${ROWS * (FOURS + 1)}>;
var<workgroup> w_tile: array<vec4<${STAGED}>, ${COLUMNS * (FOURS + 1)}>;

fn gemm_tile(workgroup_id: vec3<u32>, groups: vec3<u32>, index: u32) {
//# if EXPERTS
  let entry = take_entry(workgroup_id.y);
  let r0 = entry.first;
  let rows = entry.end;
//# else
  let rows = step[args.ROWS_WORD];
  let r0 = workgroup_id.y * ${ROWS}u;
//# end
  // As in _matmul_tile.wgsl.
  let K4 = min(row_fours(), arrayLength(&x));
  let n0 = (workgroup_id.z * groups.x + workgroup_id.x) * ${OUTPUTS}u;
  // The same for all lanes: the surplus of a folded grid.
  if (n0 >= args.N) { return; }
  let slice = index / (LANES_R * LANES_M);
  let lane = index % (LANES_R * LANES_M);
  let lane_r = lane / LANES_M;
  let lane_m = lane % LANES_M;
  // The lane's staging of x: four `x_column` of every ${LANES / FOURS}-th row from row
  // `x_first`; of w so many fours as one load takes.
  let x_column = index % FOURS;
  let x_first = index / FOURS;
  let w_column = index % ${FOURS / LOAD}u * ${LOAD}u;
  let w_first = index / ${FOURS / LOAD}u;
  // Rows and outputs past the end repeat the last one; they are computed and not stored.
//# for j in 0..X_LOADS
//# if EXPERTS
  let x${j} = input_row(min(r0 + x_first + ${j * LANES / FOURS}u, rows - 1u)) * K4;
//# else
  let x${j} = min(r0 + x_first + ${j * LANES / FOURS}u, rows - 1u) * K4;
//# end
//# end
//# for j in 0..W_LOADS
  let w${j} = weight_row(n0, w_first + ${j * LANES * LOAD / FOURS}u);
//# end
//# for r in 0..TILE_R
//# for m in 0..W
  var a${r}_${m} = 0.0;
//# end
//# end
  for (var k0 = 0u; k0 < K4; k0 += FOURS) {
    // All loads first, so that they are in flight together. Inputs past the end are zeros in both.
//# for j in 0..X_LOADS
    var p${j} = vec4<f32>();
//# end
//# for j in 0..W_LOADS
//# for i in 0..LOAD
    var q${j}_${i} = vec4<f32>();
//# end
//# end
//# if K / 4 % FOURS > 0
    if (k0 + x_column < K4) {
//# else
    {
//# end
//# for j in 0..X_LOADS
      p${j} = x[x${j} + k0 + x_column];
//# end
    }
//# if K / 4 % FOURS > 0
    if (k0 + w_column < K4) {
//# else
    {
//# end
//# for j in 0..W_LOADS
//# if LOAD == 2
      let e${j} = weight8(w${j}, k0 + w_column);
      q${j}_0 = e${j}.first;
      q${j}_1 = e${j}.second;
//# else
      q${j}_0 = weight4(w${j}, k0 + w_column);
//# end
//# end
    }
    workgroupBarrier();  // nobody reads the previous inputs any more
//# for j in 0..X_LOADS
    x_tile[(x_first + ${j * LANES / FOURS}u) * PITCH + x_column] = p${j};
//# end
//# for j in 0..W_LOADS
//# for i in 0..LOAD
    w_tile[(w_first + ${j * LANES * LOAD / FOURS}u) * PITCH + w_column + ${i}u] =
      vec4<${STAGED}>(q${j}_${i});
//# end
//# end
    workgroupBarrier();  // the inputs are staged
    for (var c = slice; c < FOURS; c += SLICES) {
//# for m in 0..W
      let b${m} = vec4<f32>(w_tile[(lane_m + ${m}u * LANES_M) * PITCH + c]);
//# end
//# for r in 0..TILE_R
      let v${r} = x_tile[(lane_r + ${r}u * LANES_R) * PITCH + c];
//# for m in 0..W
      a${r}_${m} = fma(v${r}.x, b${m}.x, a${r}_${m});
      a${r}_${m} = fma(v${r}.y, b${m}.y, a${r}_${m});
      a${r}_${m} = fma(v${r}.z, b${m}.z, a${r}_${m});
      a${r}_${m} = fma(v${r}.w, b${m}.w, a${r}_${m});
//# end
//# end
    }
  }
//# if SLICES == 1
  for (var r = 0u; r < ${TILE_R}u && r * LANES_R < rows - r0; r++) {
${rowSums}
//# for n in 0..TILE_N
    finish(r0 + lane_r + r * LANES_R, n0 + lane_m + ${n}u * LANES_M, rows,
      sum${n}, sum${n + W - TILE_N});
//# end
  }
//# else
${joinSlices}
//# end
}

//# if SLICES > 1
fn put_sums(at: u32, sums: vec4<f32>) { x_tile[at] = sums; }

/// The sums of one row's fours `q` over all slices, in the order of slices.
fn slice_sum(lane: u32, q: u32) -> vec4<f32> {
  var sum = x_tile[lane * ${W / 4}u + q];
//# for s in 1..SLICES
  sum += x_tile[(lane + ${s}u * LANES_R * LANES_M) * ${W / 4}u + q];
//# end
  return sum;
}
//# end
