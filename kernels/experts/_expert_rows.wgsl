// Where the rows, weights and biases of a tile of the packed list lie; for kernels with EXPERTS.
// They declare pairs and tiles, both array<u32>, and EXPERT_ARGS.
struct Entry { first: u32, end: u32 }

/// Of the workgroup's tile.
var<private> expert: u32;

/// The t-th tile of the list, whose expert is then the workgroup's.
fn take_entry(t: u32) -> Entry {
  let at = 1u + t * 3u;
  expert = tiles[at];
  return Entry(tiles[at + 1u], tiles[at + 2u]);
}

fn input_row(p: u32) -> u32 { return pairs[p] / ${X_PAIRS}u; }
fn output_row(p: u32) -> u32 { return pairs[p]; }

/// Of output n of the expert, and with `half` 1 of its up: the row among its own.
fn own_row(n: u32, half: u32) -> u32 {
//# if ALTERNATES
  return 2u * n + half;
//# else
  return n + half * args.N;
//# end
}
/// The row of `own_row` among those of the shard's experts, [FIRST, END).
fn expert_row(n: u32, half: u32) -> u32 {
  return (expert - args.FIRST) * args.EXPERT_ROWS + own_row(n, half);
}
fn bias_of(n: u32, half: u32) -> u32 { return expert * args.EXPERT_ROWS + own_row(n, half); }

/// Whether there is a t-th tile, and it is of an expert of this shard. The same for all lanes of a
/// workgroup: a compiler that checks that all lanes reach a barrier can tell.
fn has_entry(t: u32) -> bool {
  if (t >= tiles[0]) { return false; }
  let e = tiles[1u + t * 3u];
  return e >= args.FIRST && e < args.END;
}
