// The splits of a decode's context, in the order of their positions: those that its query reads, of
// SPLIT_LEN positions each, counted from position 0 whatever is read.

const SPLIT_LEN: u32 = ${SPLIT_LEN}u;

//# if WINDOW > 0
fn first_split(context_len: u32) -> u32 { return first_read(context_len - 1u) / SPLIT_LEN; }

/// Splits that only sinks are read of.
fn num_sink_splits(context_len: u32) -> u32 {
  return min(${Math.ceil(NUM_SINKS / SPLIT_LEN)}u, first_split(context_len));
}

fn num_splits(context_len: u32) -> u32 {
  let end = (context_len + SPLIT_LEN - 1u) / SPLIT_LEN;
  return num_sink_splits(context_len) + end - first_split(context_len);
}

fn split_begin(context_len: u32, split: u32) -> u32 {
  let sinks = num_sink_splits(context_len);
  return select(split - sinks + first_split(context_len), split, split < sinks) * SPLIT_LEN;
}
//# else
fn num_splits(context_len: u32) -> u32 { return (context_len + SPLIT_LEN - 1u) / SPLIT_LEN; }

fn split_begin(context_len: u32, split: u32) -> u32 { return split * SPLIT_LEN; }
//# end
