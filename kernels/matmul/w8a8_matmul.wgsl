// w8a8_matmul: matmul of int8 activations and int8 or int4 weights, for few rows.
//
//   t[r, n, j] = f32(sum_i codes[r, 32 j + i] * code[n, 32 j + i]) * (scales[r, j] * scale[n, j])
//   s[r, n]    = sum_j t[r, n, j]
//   y from s as in _epilogue.wgsl: stored, added to the residual, or gates and ups joined
//
// R rows, N outputs, K inputs in J = K / 32 spans; U weight rows: 2N where GATED (gates over ups),
// else N.
//   0 step    u32 packed metadata (step.ts)
//   1 codes   i8 [R, K], as quantize_rows gives them
//   2 scales  f32 [R, J]
//   3 w       WEIGHT_DTYPE [U, K], perhaps a texture (panel_weights.ts)
//   4 y       f32 [R, N], or N columns of longer rows as in matmul.wgsl
//   5 bias    as in matmul.wgsl
// Dispatch: (ceil(N / (TILE_N * LANES)) folded over x and z, ceil(R / TILE_R), ...), see
// w8a8_matmul.ts.
//
// Method: dot4I8Packed multiplies four codes at a time and adds up in i32, exactly; a span's sum is
// scaled once. A lane keeps TILE_R * W sums, W = TILE_N weight rows or twice as many where GATED.
// How lanes share the work:
//   SLICES 1              a lane sums all spans of its tile; no barrier, for software adapters.
//     with SUBGROUPS      one lane loads a row's codes and the subgroup shares them, as in
//                         _matmul_tile.wgsl
//   SLICES 4              four lanes beside each other share a tile and take every fourth span, so
//                         that they read 128 bytes in a row; they add up through shared memory
//     with SUBGROUPS      by shuffles within fours of lanes, without barrier
// Slice i sums up spans i, i + SLICES, ... in this order, each by one fma; the four give (0 + 1) +
// (2 + 3). That is all the order there is: w8a8_gemm has it too, so that one output has the same
// bits from any tile of a tuning, in any batch.
// Reference: w8a8_matmul.ts; s is off by less than 1e-6 * sum_j |t|.

const LANES: u32 = ${LANES}u;
const SLICES: u32 = ${SLICES}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> codes: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;
//# if WEIGHT_TEXTURE
@group(0) @binding(3) var w: texture_storage_2d<rgba32uint, read>;
//# else
@group(0) @binding(3) var<storage, read> w: array<vec4<u32>>;
//# end
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
//# if HAS_BIAS
@group(0) @binding(5) var<storage, read> bias: array<f32>;
//# end

@compute @workgroup_size(${LANES * SLICES})
fn w8a8_matmul(at: Invocation) {
  let rows = step[args.ROWS_WORD];
  let r0 = at.workgroup_id.y * ${TILE_R}u;
//# if SLICES == 1
  let slice = 0u;
//# else
  let slice = at.index % SLICES;
//# end
  let n0 = ((at.workgroup_id.z * at.groups.x + at.workgroup_id.x) * LANES + at.index / SLICES) * ${TILE_N}u;
//# if SLICES == 1 && !SUBGROUPS
  if (n0 >= args.N) { return; }
//# end
  // As K4 in _matmul_tile.wgsl.
  let spans = min(args.K / 32u, arrayLength(&scales));
  // Rows and outputs past the end repeat the last one; they are computed and not stored.
//# for r in 0..TILE_R
  let x${r} = min(r0 + ${r}u, rows - 1u) * spans;
//# end
//# for m in 0..W
  let w${m} = min(n0 + ${m % TILE_N}u, args.N - 1u) + ${Math.floor(m / TILE_N)}u * args.N;
//# end
//# for r in 0..TILE_R
//# for m in 0..W
  var a${r}_${m} = 0.0;
//# end
//# end
  for (var span = slice; span < spans; span += ${SLICES * RUN}u) {
//# for j in 0..RUN
    let k${j} = span + ${j * SLICES}u;
//# for m in 0..W
    let b${m}_${j} = weight_span(w${m}, k${j});
    let c${m}_${j} = weight_scale(w${m}, k${j});
//# end
//# for r in 0..TILE_R
//# if SLICES == 1 && SUBGROUPS
    var p${r}_${j} = vec4<u32>();
    var q${r}_${j} = vec4<u32>();
    var o${r}_${j} = 0.0;
    if (at.subgroup_lane == 0u) {
      p${r}_${j} = codes[2u * (x${r} + k${j})];
      q${r}_${j} = codes[2u * (x${r} + k${j}) + 1u];
      o${r}_${j} = scales[x${r} + k${j}];
    }
    let u${r}_${j} = subgroupBroadcast(p${r}_${j}, 0u);
    let v${r}_${j} = subgroupBroadcast(q${r}_${j}, 0u);
    let d${r}_${j} = subgroupBroadcast(o${r}_${j}, 0u);
//# else
    let u${r}_${j} = codes[2u * (x${r} + k${j})];
    let v${r}_${j} = codes[2u * (x${r} + k${j}) + 1u];
    let d${r}_${j} = scales[x${r} + k${j}];
//# end
//# end
//# end
//# for j in 0..RUN
//# for r in 0..TILE_R
//# for m in 0..W
    a${r}_${m} = fma(
      f32(dot_span(u${r}_${j}, v${r}_${j}, b${m}_${j})), d${r}_${j} * c${m}_${j}, a${r}_${m});
//# end
//# end
//# end
  }
//# if SLICES > 1 && !SUBGROUPS
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
    let p = (at.index - slice) * ${TILE_R * W}u + r * ${W}u + n;
    finish(r0 + r, n0 + n, rows, slice_sum(p), slice_sum(p + ${W - TILE_N}u));
  }
//# else
//# if SLICES > 1
//# for r in 0..TILE_R
//# for m in 0..W
  a${r}_${m} += subgroupShuffleXor(a${r}_${m}, 1u);
  a${r}_${m} += subgroupShuffleXor(a${r}_${m}, 2u);
//# end
//# end
  let slices = SLICES;
${shareSums}
//# else
  for (var r = 0u; r < min(${TILE_R}u, rows - r0); r++) {
${rowSums}
//# for n in 0..TILE_N
    finish(r0 + r, n0 + ${n}u, rows, sum${n}, sum${n + W - TILE_N});
//# end
  }
//# end
//# end
}

//# if SLICES > 1 && !SUBGROUPS
/// The sum of four slices, which lie as many words apart as a lane has sums.
fn slice_sum(p: u32) -> f32 {
  return (partial[p] + partial[p + ${TILE_R * W}u])
    + (partial[p + ${2 * TILE_R * W}u] + partial[p + ${3 * TILE_R * W}u]);
}
//# end
