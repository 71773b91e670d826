// w8a8_gemm: w8a8_matmul's definition for many rows, on GPUs.
//
//   t[r, n, j] = f32(sum_i codes[r, 32 j + i] * code[n, 32 j + i]) * (scales[r, j] * scale[n, j])
//   s[r, n]    = sum_j t[r, n, j], and y from it as in w8a8_matmul.wgsl
//
// R rows, N outputs, K inputs in J = K / 32 spans; U weight rows: 2N where GATED (gates over ups),
// else N.
//   0 step    u32 packed metadata (step.ts)
//   1 codes   i8 [R, K], as quantize_rows gives them
//   2 scales  f32 [R, J]
//   3 w       WEIGHT_DTYPE [U, K]
//   4 y       f32 [R, N], or N columns of longer rows as in matmul.wgsl
//   5 bias    as in matmul.wgsl
// Dispatch: (ceil(N / OUTPUTS) folded over x and z, ceil(R / ROWS), ...), see w8a8_gemm.ts.
//
// Method: the blocking of _gemm_tile.wgsl, over codes. A workgroup computes a tile of ROWS rows by
// COLUMNS weight rows and stages four spans of inputs of each at a time in shared memory; int4
// codes become bytes on the way. Four slices of lanes share the tile, each takes one of the staged
// spans, and a lane keeps TILE_R * W sums. The slices are those of w8a8_matmul, and so is the
// order in which they meet.
//
// Cost, per staged span and lane: 2 * (TILE_R + W) loads of 16 bytes for 8 * TILE_R
// * W dot products, 24 for 256 at 4 x 8, and as many conversions and fmas as there are sums,
// 32. Where a multiprocessor does 64 dot products a cycle (256 multiply-adds; NVIDIA since 2016), a
// warp's take 128 cycles and its loads at most 96; gemm needs twice the cycles for the same in
// fmas. Where a dot product is as fast as an fma (Intel Xe, AMD RDNA 2 and later), gemm needs four
// times. Registers at 4 x 8: 32 sums, 40 for codes and some 20 for addresses, so that two
// workgroups of 256 lanes fit 65,536. Shared bytes: a quarter of gemm's per input, 15,360 at 64 x
// 32.
//
// A staged row is 16 bytes longer than what it holds, so that the addresses of lanes beside each
// other fall on different banks.
// Reference: w8a8_matmul.ts; s is off by less than 1e-6 * sum_j |t|, and bit-equal to w8a8_matmul.

const LANES: u32 = ${LANES}u;
const SLICES: u32 = ${SLICES}u;
/// From one staged row to the next, in 16 bytes.
const PITCH: u32 = 9u;
/// Lanes along the outputs and along the rows of one slice.
const LANES_M: u32 = ${COLUMNS / W}u;
const LANES_R: u32 = ${ROWS / TILE_R}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> codes: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;
@group(0) @binding(3) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
//# if HAS_BIAS
@group(0) @binding(5) var<storage, read> bias: array<f32>;
//# end

var<workgroup> x_tile: array<vec4<u32>, ${9 * ROWS}>;
var<workgroup> w_tile: array<vec4<u32>, ${9 * COLUMNS}>;
var<workgroup> x_scales: array<f32, ${4 * ROWS}>;
var<workgroup> w_scales: array<f32, ${4 * COLUMNS}>;

@compute @workgroup_size(${LANES})
fn w8a8_gemm(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let rows = step[args.ROWS_WORD];
  let r0 = workgroup_id.y * ${ROWS}u;
  let n0 = (workgroup_id.z * groups.x + workgroup_id.x) * ${OUTPUTS}u;
  // The same for all lanes: the surplus of a folded grid.
  if (n0 >= args.N) { return; }
  let slice = index / (LANES_R * LANES_M);
  let lane = index % (LANES_R * LANES_M);
  let lane_r = lane / LANES_M;
  let lane_m = lane % LANES_M;
  // The first lanes stage one span of x each, the last ones one span of w; some may do both.
  let x_unit = index;
  let w_unit = index - ${LANES - 4 * COLUMNS}u;
  let stages_x = index < ${4 * ROWS}u;
  let stages_w = index >= ${LANES - 4 * COLUMNS}u;
  // As K4 in _matmul_tile.wgsl.
  let spans = min(args.K / 32u, arrayLength(&scales));
  // Rows and outputs past the end repeat the last one; they are computed and not stored.
  let x_row = min(r0 + x_unit / SLICES, rows - 1u) * spans;
  let w_row = weight_row(n0, w_unit / SLICES);
//# for r in 0..TILE_R
//# for m in 0..W
  var a${r}_${m} = 0.0;
//# end
//# end
  for (var span0 = 0u; span0 < spans; span0 += SLICES) {
    let span = span0 + index % SLICES;
    // All loads first, so that they are in flight together. Spans past the end are zeros in both.
    var x_codes = Span();
    var x_scale = 0.0;
    var w_codes = Span();
    var w_scale = 0.0;
    if (stages_x && span < spans) {
      x_codes = Span(codes[2u * (x_row + span)], codes[2u * (x_row + span) + 1u]);
      x_scale = scales[x_row + span];
    }
    if (stages_w && span < spans) {
      w_codes = weight_span(w_row, span);
      w_scale = weight_scale(w_row, span);
    }
    workgroupBarrier();  // nobody reads the previous spans any more
    if (stages_x) {
      let to = x_unit / SLICES * PITCH + x_unit % SLICES * 2u;
      x_tile[to] = x_codes.first;
      x_tile[to + 1u] = x_codes.second;
      x_scales[x_unit] = x_scale;
    }
    if (stages_w) {
      let to = w_unit / SLICES * PITCH + w_unit % SLICES * 2u;
      w_tile[to] = w_codes.first;
      w_tile[to + 1u] = w_codes.second;
      w_scales[w_unit] = w_scale;
    }
    workgroupBarrier();  // the spans are staged
//# for r in 0..TILE_R
    let u${r} = x_tile[(lane_r + ${r}u * LANES_R) * PITCH + 2u * slice];
    let v${r} = x_tile[(lane_r + ${r}u * LANES_R) * PITCH + 2u * slice + 1u];
    let d${r} = x_scales[(lane_r + ${r}u * LANES_R) * SLICES + slice];
//# end
//# for m in 0..W
    let b${m} = Span(
      w_tile[(lane_m + ${m}u * LANES_M) * PITCH + 2u * slice],
      w_tile[(lane_m + ${m}u * LANES_M) * PITCH + 2u * slice + 1u],
    );
    let c${m} = w_scales[(lane_m + ${m}u * LANES_M) * SLICES + slice];
//# for r in 0..TILE_R
    a${r}_${m} = fma(f32(dot_span(u${r}, v${r}, b${m})), d${r} * c${m}, a${r}_${m});
//# end
//# end
  }
${joinSlices}
}

fn put_sums(at: u32, sums: vec4<f32>) { x_tile[at] = bitcast<vec4<u32>>(sums); }

/// The sums of one row's fours `q` over the four slices.
fn slice_sum(lane: u32, q: u32) -> vec4<f32> {
  return (slice_part(0u, lane, q) + slice_part(1u, lane, q))
    + (slice_part(2u, lane, q) + slice_part(3u, lane, q));
}

fn slice_part(slice: u32, lane: u32, q: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(x_tile[(slice * LANES_R * LANES_M + lane) * ${W / 4}u + q]);
}
