// copy_blocks: copies whole blocks of one cache group within a buffer, for copy-on-write and
// compaction.
//
//   kv[to[c], :] = kv[from[c], :]
//
// C copies; no block is both source and target of one step.
//   0 step  u32 packed metadata (step.ts)
//   1 kv    [block, WORDS4 * 4 words], all layers of the group that lie there
// Dispatch: (ceil(WORDS4 / 64), C, 1), one lane per four words.
// Reference: copy_blocks.ts; exact.

const WORDS4: u32 = ${WORDS / 4}u;

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read_write> kv: array<vec4<u32>>;

@compute @workgroup_size(64)
fn copy_blocks(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= WORDS4) { return; }
  let copy = step[STEP_COPIES + GROUP_AT] + id.y * COPY_WORDS;
  kv[step[copy + COPY_TO] * WORDS4 + id.x] = kv[step[copy + COPY_FROM] * WORDS4 + id.x];
}
