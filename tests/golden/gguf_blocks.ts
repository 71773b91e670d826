/**
 * Golden blocks of GGUF's tensor types: `deno run -A tests/golden/gguf_blocks.ts LIBGGML` prints
 * them as JSON, made by the ggml of `npm:@node-llama-cpp/linux-x64@3.22.1` (its libggml-base.so).
 *
 * For each type: 512 numbers of a normal distribution, quantized by ggml, and as many random bytes;
 * and the numbers that ggml makes of both, as f32. Random bytes whose scales are not finite numbers
 * are drawn again.
 */
// deno-lint-ignore-file no-console -- this is a command line program

/** Type numbers, names, elements and bytes of a block, and the suffix of the functions in C. */
const TYPES = [
  [2, "Q4_0", 32, 18, "q4_0"],
  [3, "Q4_1", 32, 20, "q4_1"],
  [6, "Q5_0", 32, 22, "q5_0"],
  [7, "Q5_1", 32, 24, "q5_1"],
  [8, "Q8_0", 32, 34, "q8_0"],
  [10, "Q2_K", 256, 84, "q2_K"],
  [11, "Q3_K", 256, 110, "q3_K"],
  [12, "Q4_K", 256, 144, "q4_K"],
  [13, "Q5_K", 256, 176, "q5_K"],
  [14, "Q6_K", 256, 210, "q6_K"],
  [20, "IQ4_NL", 32, 18, "iq4_nl"],
  [23, "IQ4_XS", 256, 136, "iq4_xs"],
  [34, "TQ1_0", 256, 54, "tq1_0"],
  [35, "TQ2_0", 256, 66, "tq2_0"],
  [39, "MXFP4", 32, 17, "mxfp4"],
] as const;

const NUM_ELEMENTS = 512;

let state = 20261130;
/** Marsaglia's xorshift (2003), in [0, 1). */
function random(): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) / 2 ** 32;
}

function normal(): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

const [path] = Deno.args;
const quantizeSymbol = {
  parameters: ["i32", "buffer", "buffer", "i64", "i64", "i64", "buffer"],
  result: "usize",
} as const;
const dequantizeSymbol = { parameters: ["buffer", "buffer", "i64"], result: "void" } as const;
const library = Deno.dlopen(path!, { ggml_quantize_chunk: quantizeSymbol });

const golden = TYPES.map(([id, name, blockSize, blockBytes, suffix]) => {
  const symbol = `dequantize_row_${suffix}`;
  const { symbols } = Deno.dlopen(path!, { [symbol]: dequantizeSymbol });
  const dequantize = symbols[symbol] as (x: Uint8Array, y: Float32Array, k: bigint) => void;
  const numBytes = NUM_ELEMENTS / blockSize * blockBytes;
  const numbers = (bytes: Uint8Array) => {
    const values = new Float32Array(NUM_ELEMENTS);
    dequantize(bytes, values, BigInt(NUM_ELEMENTS));
    return values;
  };
  const quantized = new Uint8Array(numBytes);
  const given = Float32Array.from({ length: NUM_ELEMENTS }, () => 0.02 * normal());
  const importance = new Float32Array(NUM_ELEMENTS).fill(1);
  const rows = BigInt(NUM_ELEMENTS / 256);
  library.symbols.ggml_quantize_chunk(id, given, quantized, 0n, rows, 256n, importance);
  let drawn: Uint8Array<ArrayBuffer>;
  do drawn = Uint8Array.from({ length: numBytes }, () => Math.floor(256 * random()));
  while (!numbers(drawn).every((value) => Math.abs(value) < 1e30));
  const cases = [quantized, drawn].map((bytes) => ({
    bytes: bytes.toBase64(),
    values: new Uint8Array(numbers(bytes).buffer).toBase64(),
  }));
  return { name, cases };
});

console.log(JSON.stringify({ source: "@node-llama-cpp/linux-x64 3.22.1", golden }, null, 1));
