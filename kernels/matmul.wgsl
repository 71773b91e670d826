// matmul: rows times a weight matrix stored as in the checkpoint, and what follows it.
//
//   s[r, n] = sum_k x[r, k] * w[n, k]
//   y[r, n] = s[r, n]                              EPILOGUE "store"
//   y[r, n] += s[r, n]                             "add", the residual
//   y[r, n] = silu(s[r, n]) * s[r, N + n]          "silu" (SwiGLU, Shazeer 2020, 2002.05202)
//   silu(g) = g / (1 + exp(-g))
//
// R rows, N outputs, K inputs; M weight rows: 2N for "silu" (gates over ups), else N.
//   0 step   u32 packed metadata (step.ts)
//   1 x      f32 [R, K]
//   2 w      WEIGHT_DTYPE [M, K]
//   3 y      f32 [R, N]
// Dispatch: (ceil(N / (TILE_N * LANES)) folded over x and z, ceil(R / TILE_R), ...), see matmul.ts.
// Method: each lane holds a register tile of TILE_R rows by TILE_N outputs (W weight rows). It takes
// inputs in runs of RUN fours and sums each run by itself, which is where a format with a scale per
// group of inputs has its one multiplication. SLICES lanes share a tile, take every SLICES-th run
// (so that their loads are adjacent) and add up through shared memory. With SLICES = 1 there is no
// barrier, which is what a software adapter wants. The order of additions depends on the shape
// alone, never on the other rows of the step.
// Reference: matmul.ts; s is off by less than 2e-6 * sum_k |x w|.

const N: u32 = ${N}u;
const K4: u32 = ${K / 4}u;
const LANES: u32 = ${LANES}u;
const SLICES: u32 = ${SLICES}u;
const RUN: u32 = ${RUN}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<Weight4>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

//# if SLICES > 1
var<workgroup> partial: array<f32, ${LANES * SLICES * TILE_R * W}>;
//# end

@compute @workgroup_size(${LANES * SLICES})
fn matmul(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let slice = index % SLICES;
  let lane = index / SLICES;
  let rows = step[${ROWS_WORD}u];
  let r0 = group.y * ${TILE_R}u;
  let n0 = ((group.z * groups.x + group.x) * LANES + lane) * ${TILE_N}u;
//# if SLICES == 1
  if (n0 >= N) { return; }
//# end
  // Rows and outputs past the end repeat the last one; they are computed and not stored.
//# for r in 0..TILE_R
  let x${r} = min(r0 + ${r}u, rows - 1u) * K4;
//# end
//# for m in 0..W
  let w${m} = min(n0 + ${m % TILE_N}u, N - 1u) + ${Math.floor(m / TILE_N)}u * N;
//# end
//# for r in 0..TILE_R
//# for m in 0..W
  var a${r}_${m} = 0.0;
//# end
//# end
//# if SLICES == 1
  // Uniform, so that a row's load is one for all lanes.
  for (var k = 0u; k < K4; k += RUN) {
//# else
  for (var k = slice * RUN; k < K4; k += SLICES * RUN) {
//# end
//# for r in 0..TILE_R
//# for m in 0..W
    var s${r}_${m} = 0.0;
//# end
//# end
//# for j in 0..RUN
//# for m in 0..W
    let b${m}_${j} = weight4(w${m}, k + ${j}u);
//# end
//# for r in 0..TILE_R
    let v${r}_${j} = x[x${r} + k + ${j}u];
//# for m in 0..W
    s${r}_${m} += dot(v${r}_${j}, b${m}_${j});
//# end
//# end
//# end
//# for r in 0..TILE_R
//# for m in 0..W
    a${r}_${m} += s${r}_${m};
//# end
//# end
  }
//# if SLICES == 1
//# for r in 0..TILE_R
//# for n in 0..TILE_N
  finish(r0 + ${r}u, n0 + ${n}u, rows, a${r}_${n}, a${r}_${n + W - TILE_N});
//# end
//# end
//# else
  let base = (lane * SLICES + slice) * ${TILE_R * W}u;
//# for r in 0..TILE_R
//# for m in 0..W
  partial[base + ${r * W + m}u] = a${r}_${m};
//# end
//# end
  workgroupBarrier();  // the lanes of a tile now share out its sums
  for (var i = slice; i < ${TILE_R * TILE_N}u; i += SLICES) {
    let r = i / ${TILE_N}u;
    let n = i % ${TILE_N}u;
    var first = 0.0;
    var last = 0.0;
    for (var s = 0u; s < SLICES; s++) {
      let at = (lane * SLICES + s) * ${TILE_R * W}u + r * ${W}u + n;
      first += partial[at];
//# if W > TILE_N
      last += partial[at + ${W - TILE_N}u];
//# end
    }
    finish(r0 + r, n0 + n, rows, first, last);
  }
//# end
}

/// Stores output n of row r from its sum, and with "silu" the sum of weight row N + n.
fn finish(r: u32, n: u32, rows: u32, sum: f32, up: f32) {
  if (r >= rows || n >= N) { return; }
//# if EPILOGUE == "store"
  y[r * N + n] = sum;
//# end
//# if EPILOGUE == "add"
  y[r * N + n] += sum;
//# end
//# if EPILOGUE == "silu"
  y[r * N + n] = sum / (1.0 + exp(-sum)) * up;
//# end
}
