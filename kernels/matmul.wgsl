// matmul: rows times a weight matrix stored as in the checkpoint.
//
//   y[r, n] = sum_k x[r, k] * w[n, k]  (+ y[r, n] when ADD)
//
// R rows, N outputs, K inputs.
//   0 step   u32 packed metadata (step.ts)
//   1 x      f32 [R, K]
//   2 w      WEIGHT_DTYPE [N, K]
//   3 y      f32 [R, N]
// Dispatch: (ceil(N / (TILE_N * LANES)) folded over x and z, ceil(R / TILE_R), ...), see matmul.ts.
// Method: each lane holds a register tile of TILE_R rows by TILE_N outputs; SLICES lanes share a tile,
// take every SLICES-th group of four inputs (so that their loads are adjacent) and add up through
// shared memory. With SLICES = 1 there is no barrier, which is what a software adapter wants. The
// order of additions depends on the shape alone, never on the other rows of the step.
// Reference: matmul.ts; error below 2e-6 * sum_k |x w|.

const N: u32 = ${N}u;
const K4: u32 = ${K / 4}u;
const LANES: u32 = ${LANES}u;
const SLICES: u32 = ${SLICES}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<Weight4>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

//# if SLICES > 1
var<workgroup> partial: array<f32, ${LANES * SLICES * TILE_R * TILE_N}>;
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
//# for n in 0..TILE_N
  let w${n} = min(n0 + ${n}u, N - 1u) * K4;
//# end
//# for r in 0..TILE_R
//# for n in 0..TILE_N
  var a${r}_${n} = 0.0;
//# end
//# end
//# if SLICES == 1
  // Uniform, so that a row's load is one for all lanes.
  for (var k = 0u; k < K4; k++) {
//# else
  for (var k = slice; k < K4; k += SLICES) {
//# end
//# for n in 0..TILE_N
    let b${n} = weight4(w[w${n} + k]);
//# end
//# for r in 0..TILE_R
    let v${r} = x[x${r} + k];
//# for n in 0..TILE_N
    a${r}_${n} += dot(v${r}, b${n});
//# end
//# end
  }
//# if SLICES == 1
//# for r in 0..TILE_R
//# for n in 0..TILE_N
  store(r0 + ${r}u, n0 + ${n}u, rows, a${r}_${n});
//# end
//# end
//# else
  let base = (lane * SLICES + slice) * ${TILE_R * TILE_N}u;
//# for r in 0..TILE_R
//# for n in 0..TILE_N
  partial[base + ${r * TILE_N + n}u] = a${r}_${n};
//# end
//# end
  workgroupBarrier();  // the lanes of a tile now share out its sums
  for (var i = slice; i < ${TILE_R * TILE_N}u; i += SLICES) {
    var sum = 0.0;
    for (var s = 0u; s < SLICES; s++) {
      sum += partial[(lane * SLICES + s) * ${TILE_R * TILE_N}u + i];
    }
    store(r0 + i / ${TILE_N}u, n0 + i % ${TILE_N}u, rows, sum);
  }
//# end
}

fn store(r: u32, n: u32, rows: u32, value: f32) {
  if (r >= rows || n >= N) { return; }
//# if ADD
  y[r * N + n] += value;
//# else
  y[r * N + n] = value;
//# end
}
