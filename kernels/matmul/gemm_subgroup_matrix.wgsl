// gemm_subgroup_matrix: matmul's definition for many rows, on GPUs with matrix units.
//
//   s[r, n] = scales[r] * sum_k x[r, k] * w[n, k]   UNIT_TYPE "f16", x from cast_rows_f16
//   s[r, n] = sum_k x[r, k] * w[n, k]               "f32"
//   y from s as in _epilogue.wgsl: stored, added to the residual, or gates and ups joined
//
// R rows, N outputs, K inputs; U weight rows: 2N where GATED (gates over ups), else N.
//   0 step    u32 packed metadata (step.ts)
//   1 x       UNIT_TYPE [R, K]
//   2 scales  f32 [R], not read with "f32"
//   3 w       WEIGHT_DTYPE [U, K]
//   4 y       f32 [R, N], or N columns of longer rows as in matmul.wgsl
//   5 bias    as in matmul.wgsl
// Dispatch: (ceil(N / OUTPUTS) folded over x and z, ceil(R / ROWS), ...), see
// gemm_subgroup_matrix.ts.
//
// Method: the blocking of _gemm_tile.wgsl around another core. A workgroup computes a tile of ROWS
// rows by COLUMNS weight rows and stages FOURS * 4 inputs of each at a time in shared memory. Each
// of its SUBGROUPS computes SUB_ROWS by SUB_COLUMNS of it, as sums of products of matrices of
// UNIT_M x UNIT_K and UNIT_K x UNIT_N elements, for which the device has an instruction (Markidis
// 2018, 1803.04014). While these run, the loads of the next inputs are in flight. Weights lie row
// by row in memory, which is their transpose's columns.
//
// A workgroup has lanes for SUBGROUPS of the widest kind; where the driver makes narrower ones, the
// surplus only stages. A subgroup stores its sums through shared memory, one matrix after the
// other, since which lane holds which element is implementation-defined.
//
// Cost, with units of 16 x 16 x 16 and a tile of 64 x 64 by 32 x 32: per subgroup and 32
// inputs, 8 loads of matrices for 8 products; 16 KiB of shared memory are read for 131,072
// multiply-adds, and 8 KiB are written. Global bytes are gemm's, with half as many for x. Shared
// bytes: at most 32,768.
//
// A staged row is 16 bytes longer than what it holds: that keeps rows on 16 bytes, which Vulkan
// asks for, and puts the eight rows that are read together on different banks.
// Reference: gemm_subgroup_matrix.ts; products of f16 are exact; sums are f32, rounded or cut off
// once per unit, in an implementation-defined order: s is off by less than 2^-23 (K / UNIT_K +
// UNIT_K) * sum_k |x w|. Units of f16 add 2^-10 * sum_k |x w| for weights that are not f16 in
// memory, and 2^-14 * sum_k |x| where weights are below 2^-14, if the device flushes subnormal
// halves; weights beyond 65,504, which no model has, count as that. What cast_rows_f16 rounds off x
// comes before.

fn row_fours() -> u32 { return args.K / 4u; }

const ROWS: u32 = ${ROWS}u;
const COLUMNS: u32 = ${COLUMNS}u;
const FOURS: u32 = ${FOURS}u;
/// Elements from one staged row to the next.
const PITCH: u32 = ${FOURS * 4 + (UNIT_TYPE == "f16" ? 8 : 4)}u;
const LANES: u32 = ${LANES}u;
const SUBGROUPS: u32 = ${ROWS / SUB_ROWS * COLUMNS / SUB_COLUMNS}u;
/// Subgroups along the outputs.
const SUBGROUPS_M: u32 = ${COLUMNS / SUB_COLUMNS}u;
/// Elements of a matrix of sums, and how many of these a subgroup puts down at once.
const AREA: u32 = ${UNIT_M * UNIT_N}u;
const SHARES: u32 = ${COLUMNS / OUTPUTS}u;

alias Left = subgroup_matrix_left<${UNIT_TYPE}, ${UNIT_K}, ${UNIT_M}>;
alias Right = subgroup_matrix_right<${UNIT_TYPE}, ${UNIT_N}, ${UNIT_K}>;
alias Sums = subgroup_matrix_result<f32, ${UNIT_N}, ${UNIT_M}>;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<${UNIT_TYPE}>>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;
@group(0) @binding(3) var<storage, read> w: array<Weight>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
//# if HAS_BIAS
@group(0) @binding(5) var<storage, read> bias: array<f32>;
//# end

var<workgroup> x_tile: array<${UNIT_TYPE}, ROWS * PITCH>;
var<workgroup> w_tile: array<${UNIT_TYPE}, COLUMNS * PITCH>;
var<workgroup> sums: array<f32, SUBGROUPS * SHARES * AREA>;

@compute @workgroup_size(LANES)
fn gemm_subgroup_matrix(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) id: vec3<u32>,
  @builtin(subgroup_id) subgroup: u32,
) {
  let index = id.x;
  let rows = step[args.ROWS_WORD];
  let r0 = workgroup_id.y * ROWS;
  // As in _matmul_tile.wgsl.
  let K4 = min(row_fours(), arrayLength(&x));
  let n0 = (workgroup_id.z * groups.x + workgroup_id.x) * ${OUTPUTS}u;
  // The same for all lanes: the surplus of a folded grid.
  if (n0 >= args.N) { return; }
  // The subgroup's share of the staged inputs.
  let x_part = subgroup / SUBGROUPS_M * ${SUB_ROWS}u * PITCH;
  let w_part = subgroup % SUBGROUPS_M * ${SUB_COLUMNS}u * PITCH;
  // The lane's staging, in units of one load; rows and outputs past the end repeat the last one,
  // they are computed and not stored.
//# for j in 0..X_LOADS
  let x_row${j} = (index + ${j}u * LANES) / ${FOURS / X_LOAD}u;
  let x_column${j} = (index + ${j}u * LANES) % ${FOURS / X_LOAD}u * ${X_LOAD}u;
  let x${j} = min(r0 + x_row${j}, rows - 1u) * K4;
//# end
//# for j in 0..W_LOADS
  let w_row${j} = (index + ${j}u * LANES) / ${FOURS / LOAD}u;
  let w_column${j} = (index + ${j}u * LANES) % ${FOURS / LOAD}u * ${LOAD}u;
  let w${j} = weight_row(n0, w_row${j});
//# end
//# for m in 0..SUB_ROWS / UNIT_M
//# for n in 0..SUB_COLUMNS / UNIT_N
  var a${m}_${n}: Sums;
//# end
//# end
  for (var k0 = 0u; ; k0 += FOURS) {
    // The next inputs, and none in the last turn. Past a row's end its last ones are loaded, and
    // zeros taken for those of x: no lane goes a way of its own here, since what follows wants
    // whole subgroups.
//# for j in 0..X_LOADS
//# for i in 0..X_LOAD
    var p${j}_${i} = vec4<${UNIT_TYPE}>();
//# end
//# end
//# for j in 0..W_LOADS
    var q${j} = Fours();
//# end
    if (k0 < K4) {
//# for j in 0..X_LOADS
//# for i in 0..X_LOAD
      p${j}_${i} = x[x${j} + inside(k0 + x_column${j}, ${X_LOAD}u) + ${i}u];
//# end
//# end
//# for j in 0..W_LOADS
      q${j} = weights(w${j}, inside(k0 + w_column${j}, ${LOAD}u));
//# end
//# if K / 4 % FOURS > 0
//# for j in 0..X_LOADS
//# for i in 0..X_LOAD
      p${j}_${i} = select(p${j}_${i}, vec4<${UNIT_TYPE}>(), k0 + x_column${j} >= K4);
//# end
//# end
//# end
    }
    // The products of those staged in the turn before.
    if (k0 > 0u && subgroup < SUBGROUPS) {
//# for k in 0..FOURS * 4 / UNIT_K
//# for m in 0..SUB_ROWS / UNIT_M
      let left${k}_${m} = subgroupMatrixLoad<Left, row_major>(
        &x_tile, x_part + ${m * UNIT_M}u * PITCH + ${k * UNIT_K}u, PITCH);
//# end
//# for n in 0..SUB_COLUMNS / UNIT_N
      let right${k}_${n} = subgroupMatrixLoad<Right, col_major>(
        &w_tile, w_part + ${n * UNIT_N}u * PITCH + ${k * UNIT_K}u, PITCH);
//# for m in 0..SUB_ROWS / UNIT_M
      a${m}_${n} = subgroupMatrixMultiplyAccumulate(left${k}_${m}, right${k}_${n}, a${m}_${n});
//# end
//# end
//# end
    }
    if (k0 >= K4) { break; }
    workgroupBarrier();  // nobody reads the inputs of the turn before any more
//# for j in 0..X_LOADS
//# if ROWS * FOURS / X_LOAD < (j + 1) * LANES
    if (x_row${j} < ROWS) {
//# else
    {
//# end
//# for i in 0..X_LOAD
      stage_x(x_row${j} * PITCH + (x_column${j} + ${i}u) * 4u, p${j}_${i});
//# end
    }
//# end
//# for j in 0..W_LOADS
//# if COLUMNS * FOURS / LOAD < (j + 1) * LANES
    if (w_row${j} < COLUMNS) {
//# else
    {
//# end
//# for i in 0..LOAD
      stage_w(w_row${j} * PITCH + (w_column${j} + ${i}u) * 4u, q${j}[${i}]);
//# end
    }
//# end
    workgroupBarrier();  // the inputs are staged
  }
//# for m in 0..SUB_ROWS / UNIT_M
//# for n in 0..SUB_COLUMNS / UNIT_N * OUTPUTS / COLUMNS
  workgroupBarrier();  // nobody reads the sums before these any more
  if (subgroup < SUBGROUPS) {
    subgroupMatrixStore<row_major>(&sums, subgroup * SHARES * AREA, a${m}_${n}, ${UNIT_N}u);
//# if GATED
    subgroupMatrixStore<row_major>(
      &sums, subgroup * SHARES * AREA + AREA, a${m}_${n + SUB_COLUMNS / UNIT_N / 2}, ${UNIT_N}u);
//# end
  }
  workgroupBarrier();  // every subgroup's are there
  finish_matrices(index, r0 + ${m * UNIT_M}u, n0 + ${n * UNIT_N}u, rows);
//# end
//# end
}

/// Four `k4` of a row, or the last that a load of so many may begin with.
fn inside(k4: u32, load: u32) -> u32 {
//# if K / 4 % FOURS > 0
  return min(k4, row_fours() - load);
//# else
  return k4;
//# end
}

/// The weight row that is row `m` of the tile: where GATED, of each subgroup's columns the first
/// half are gates and the second half their ups.
fn weight_row(n0: u32, m: u32) -> u32 {
//# if GATED
  let column = m % ${SUB_COLUMNS}u;
  let n = n0 + m / ${SUB_COLUMNS}u * ${SUB_COLUMNS / 2}u + column % ${SUB_COLUMNS / 2}u;
  return min(n, args.N - 1u) + column / ${SUB_COLUMNS / 2}u * args.N;
//# else
  return min(n0 + m, args.N - 1u);
//# end
}

fn stage_x(at: u32, four: vec4<${UNIT_TYPE}>) {
//# for i in 0..4
  x_tile[at + ${i}u] = four.${"xyzw"[i]};
//# end
}

fn stage_w(at: u32, four: vec4<f32>) {
//# if UNIT_TYPE == "f16" && WEIGHT_DTYPE != "f16"
  let staged = vec4<f16>(clamp(four, vec4(-65504.0), vec4(65504.0)));
//# else
  let staged = vec4<${UNIT_TYPE}>(four);
//# end
//# for i in 0..4
  w_tile[at + ${i}u] = staged.${"xyzw"[i]};
//# end
}

/// Stores the matrix that each subgroup put down; that of the first begins at row `r0` and output
/// `n0`.
fn finish_matrices(index: u32, r0: u32, n0: u32, rows: u32) {
  for (var i = index; i < SUBGROUPS * AREA; i += LANES) {
    let subgroup = i / AREA;
    let r = r0 + subgroup / SUBGROUPS_M * ${SUB_ROWS}u + i % AREA / ${UNIT_N}u;
    let n = n0 + subgroup % SUBGROUPS_M * ${SUB_COLUMNS * OUTPUTS / COLUMNS}u + i % ${UNIT_N}u;
    let own = subgroup * SHARES * AREA + i % AREA;
//# if UNIT_TYPE == "f16"
    let scale = scales[min(r, rows - 1u)];
//# else
    let scale = 1.0;
//# end
//# if GATED
    finish(r, n, rows, sums[own] * scale, sums[own + AREA] * scale);
//# else
    finish(r, n, rows, sums[own] * scale, 0.0);
//# end
  }
}
