// next_step: the metadata of a further decode step takes the place of that of the one before, with
// the tokens just drawn as its token ids.
//
//   step[w] = further[first + w], but in the region of token ids, whose word names a draw:
//   step[w] = sampled[further[first + w]].token, or 0 where that drew NO_TOKEN: what comes of it is
//   dropped, and must not look for an embedding that is not there
//
// N words of the step's metadata, from word `first` of `further` on.
//   0 further  u32: (first, N) of each further step, then their metadata (step.ts)
//   1 sampled  u32 [R, SAMPLED_WORDS], the draws of all steps so far
//   2 step     u32 packed metadata, overwritten
// Dispatch: (at least ceil(N / 64), 1, 1), one lane per word.
// Reference: next_step.ts; exact.

@group(0) @binding(0) var<storage, read> further: array<u32>;
@group(0) @binding(1) var<storage, read> sampled: array<u32>;
@group(0) @binding(2) var<storage, read_write> step: array<u32>;

@compute @workgroup_size(64)
fn next_step(@builtin(global_invocation_id) id: vec3<u32>) {
  let first = further[2u * args.INDEX];
  if (id.x >= further[2u * args.INDEX + 1u]) { return; }
  var word = further[first + id.x];
  // Below the region the difference wraps around.
  if (id.x - further[first + STEP_TOKENS] < further[first + STEP_NUM_TOKENS]) {
    word = sampled[word * SAMPLED_WORDS + SAMPLED_TOKEN];
    if (word == NO_TOKEN) { word = 0u; }
  }
  step[id.x] = word;
}
