// copy_blocks: copies whole blocks of one cache group within a buffer, for copy-on-write and
// compaction.
//
//   kv[to[c], :] = kv[from[c], :]
//
// C copies; no block is both source and target of one step.
//   0 step  u32 packed metadata (step.ts)
//   1 kv    [block, WORDS words], all layers of the group that lie there
// Dispatch: (ceil(WORDS / 4 / 64), C, 1), one lane per four words.
// Reference: copy_blocks.ts; exact.

@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read_write> kv: array<vec4<u32>>;

@compute @workgroup_size(64)
fn copy_blocks(@builtin(global_invocation_id) id: vec3<u32>) {
  let fours = args.WORDS / 4u;
  if (id.x >= fours) { return; }
  let copy = step[STEP_COPIES + GROUP_AT] + id.y * COPY_WORDS;
  kv[step[copy + COPY_TO] * fours + id.x] = kv[step[copy + COPY_FROM] * fours + id.x];
}
