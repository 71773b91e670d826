// gate_up_silu: the gated half of the feed-forward layer (SwiGLU, Shazeer 2020, 2002.05202).
//
//   h[r, n] = silu(sum_k x[r, k] * gate[n, k]) * sum_k x[r, k] * up[n, k],  silu(g) = g / (1 + exp(-g))
//
// R rows, N inner, K hidden.
//   0 step   u32 packed metadata (step.ts)
//   1 x      f32 [R, K]
//   2 gate   WEIGHT_DTYPE [N, K]
//   3 up     WEIGHT_DTYPE [N, K]
//   4 h      f32 [R, N]
// Dispatch and method as matmul.wgsl, with half of TILE_N's outputs from each matrix.
// Reference: gate_up_silu.ts; error below 2e-6 * K for inputs and weights in [-1, 1].

const N: u32 = ${N}u;
const K4: u32 = ${K / 4}u;
const LANES: u32 = ${LANES}u;
const SLICES: u32 = ${SLICES}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gate: array<Weight4>;
@group(0) @binding(3) var<storage, read> up: array<Weight4>;
@group(0) @binding(4) var<storage, read_write> h: array<f32>;

//# if SLICES > 1
var<workgroup> partial: array<vec2<f32>, ${LANES * SLICES * TILE_R * TILE_N}>;
//# end

@compute @workgroup_size(${LANES * SLICES})
fn gate_up_silu(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let slice = index % SLICES;
  let lane = index / SLICES;
  let rows = step[STEP_NUM_TOKENS];
  let r0 = group.y * ${TILE_R}u;
  let n0 = ((group.z * groups.x + group.x) * LANES + lane) * ${TILE_N}u;
//# if SLICES == 1
  if (n0 >= N) { return; }
//# end
//# for r in 0..TILE_R
  let x${r} = min(r0 + ${r}u, rows - 1u) * K4;
//# end
//# for n in 0..TILE_N
  let w${n} = min(n0 + ${n}u, N - 1u) * K4;
//# end
//# for r in 0..TILE_R
//# for n in 0..TILE_N
  var g${r}_${n} = 0.0;
  var u${r}_${n} = 0.0;
//# end
//# end
//# if SLICES == 1
  // Uniform, so that a row's load is one for all lanes.
  for (var k = 0u; k < K4; k++) {
//# else
  for (var k = slice; k < K4; k += SLICES) {
//# end
//# for n in 0..TILE_N
    let bg${n} = weight4(gate[w${n} + k]);
    let bu${n} = weight4(up[w${n} + k]);
//# end
//# for r in 0..TILE_R
    let v${r} = x[x${r} + k];
//# for n in 0..TILE_N
    g${r}_${n} += dot(v${r}, bg${n});
    u${r}_${n} += dot(v${r}, bu${n});
//# end
//# end
  }
//# if SLICES == 1
//# for r in 0..TILE_R
//# for n in 0..TILE_N
  store(r0 + ${r}u, n0 + ${n}u, rows, vec2(g${r}_${n}, u${r}_${n}));
//# end
//# end
//# else
  let base = (lane * SLICES + slice) * ${TILE_R * TILE_N}u;
//# for r in 0..TILE_R
//# for n in 0..TILE_N
  partial[base + ${r * TILE_N + n}u] = vec2(g${r}_${n}, u${r}_${n});
//# end
//# end
  workgroupBarrier();  // the lanes of a tile now share out its sums
  for (var i = slice; i < ${TILE_R * TILE_N}u; i += SLICES) {
    var sum = vec2(0.0);
    for (var s = 0u; s < SLICES; s++) {
      sum += partial[(lane * SLICES + s) * ${TILE_R * TILE_N}u + i];
    }
    store(r0 + i / ${TILE_N}u, n0 + i % ${TILE_N}u, rows, sum);
  }
//# end
}

fn store(r: u32, n: u32, rows: u32, gate_up: vec2<f32>) {
  if (r >= rows || n >= N) { return; }
  h[r * N + n] = gate_up.x / (1.0 + exp(-gate_up.x)) * gate_up.y;
}
