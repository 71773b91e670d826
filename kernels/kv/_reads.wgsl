// Which positions queries read, of a context of 0, 1, ...: all up to their own, or with WINDOW > 0
// those from `first_read` on and the first NUM_SINKS. Blocks of others may be dead, and their
// entries in block tables anything.

//# if WINDOW > 0
const WINDOW: u32 = ${WINDOW}u;
//# if NUM_SINKS > 0
const NUM_SINKS: u32 = ${NUM_SINKS}u;
//# end

/// The first position, sinks aside, that a query at `position` reads.
fn first_read(position: u32) -> u32 {
//# if IS_CHUNKED
  return position - position % WINDOW;
//# else
  return max(position + 1u, WINDOW) - WINDOW;
//# end
}

/// Whether a query reads `p`, a position up to its own; `first` is its first_read.
fn is_read(p: u32, first: u32) -> bool {
//# if NUM_SINKS > 0
  return p >= first || p < NUM_SINKS;
//# else
  return p >= first;
//# end
}

/// `p`, or in place of a position that no query from `first` on reads, one that they do.
fn live_position(p: u32, first: u32) -> u32 { return select(first, p, is_read(p, first)); }

/// The first multiple of `grain` from `p` on, which is one, with positions that are read behind it.
fn skip_dead(p: u32, first: u32, grain: u32) -> u32 {
  return select(max(p, first - first % grain), p, is_read(p, first));
}
//# end
