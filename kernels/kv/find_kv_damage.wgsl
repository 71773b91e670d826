// find_kv_damage: where the KV of the step's first sequence first holds what is not a finite
// number, in one layer. For diagnosis: it reads all KV of the sequence, or all scales where dtypes
// have them.
//
//   found[layer] = min of 2 p + (0 if too large for f16, else 1)
//   over the positions p that the sequence's rows read (_reads.wgsl), K and V, heads, dims
//
//   0 step   u32 packed metadata (step.ts)
//   1 kv     one layer's buffer, as words (kv_cache.ts)
//   2 found  u32 [layers]; 0xffffffff before, and where all is finite
// Dispatch: (GROUPS, layer + 1, 1), LANES lanes each; only the last y works. So layers share a
// pipeline.
// Method: a lane per word of the sequence's blocks, then the next so many further on.
// Reference: find_kv_damage.ts; exact.

const GROUPS: u32 = ${GROUPS}u;
const LANES: u32 = ${LANES}u;
const BLOCK_SIZE: u32 = ${BLOCK_SIZE}u;
const STRIDE: u32 = ${STRIDE}u;
// The words of each block that are checked: CHECKED of them from FIRST on, VECTOR of each position
// and head.
const FIRST: u32 = ${LAYER_OFFSET + FIRST}u;
const CHECKED: u32 = ${CHECKED}u;
const VECTOR: u32 = ${VECTOR}u;
const FINITE: u32 = 0xffffffffu;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> kv: array<u32>;
@group(0) @binding(2) var<storage, read_write> found: array<atomic<u32>>;

/// FINITE if all of the word's numbers are; else 0 if one was too large for f16
/// (rope_store_kv.wgsl), or 1.
fn damage(word: u32) -> u32 {
//# if IS_F16
  let low = word & 0x7fffu;
  let high = (word >> 16u) & 0x7fffu;
  if (low == 0x7fffu || high == 0x7fffu) { return 0u; }
  return select(FINITE, 1u, max(low, high) >= 0x7c00u);
//# else
  return select(FINITE, 1u, (word & 0x7fffffffu) >= 0x7f800000u);
//# end
}

@compute @workgroup_size(LANES)
fn find_kv_damage(
  @builtin(workgroup_id) workgroup_id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let layer = groups.y - 1u;
  if (workgroup_id.y != layer) { return; }
  let seq = step[STEP_SEQS + GROUP_AT];
  let context_len = step[seq + SEQ_CONTEXT_LEN];
  let table = step[seq + SEQ_TABLE];
//# if WINDOW > 0
  let first_position = first_read(context_len - step[seq + SEQ_NUM_ROWS]);
//# end
  let end = (context_len + BLOCK_SIZE - 1u) / BLOCK_SIZE * CHECKED;
  var first = FINITE;
  for (var i = workgroup_id.x * LANES + lane; i < end; i += GROUPS * LANES) {
    let block = i / CHECKED;
    let position = block * BLOCK_SIZE + i % CHECKED / VECTOR % BLOCK_SIZE;
    if (position >= context_len) { continue; }
//# if WINDOW > 0
    if (!is_read(position, first_position)) { continue; }
//# end
    let kind = damage(kv[step[table + block] * STRIDE + FIRST + i % CHECKED]);
    if (kind != FINITE) { first = min(first, 2u * position + kind); }
  }
  if (first != FINITE) { atomicMin(&found[layer], first); }
}
