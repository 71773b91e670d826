/** Numbers of a block. */
const BLOCK = 256;

/**
 * Q4_K: per group of 32 the span of its numbers, widened to 0, in 15 steps; scales and minima in 63
 * steps of the block's largest.
 */
export function encodeQ4_K(values: Float32Array): Uint8Array {
  return encodeBlocks(values, 144, (numbers, block) => {
    const groups = Array.from({ length: 8 }, (_, g) => numbers.subarray(32 * g, 32 * g + 32));
    const lows = groups.map((group) => Math.min(0, ...group));
    const steps = groups.map((group, g) => (Math.max(0, ...group) - lows[g]!) / 15);
    const unit = Math.f16round(Math.max(...steps) / 63);
    const unitOfMinima = Math.f16round(Math.max(...lows.map(Math.abs)) / 63);
    block.setFloat16(0, unit, true);
    block.setFloat16(2, unitOfMinima, true);
    const scales = steps.map((step) => codeOf(step, unit, 63));
    const minima = lows.map((low) => codeOf(-low, unitOfMinima, 63));
    for (let g = 0; g < 4; g++) {
      block.setUint8(4 + g, scales[g]! | (scales[g + 4]! >> 4) << 6);
      block.setUint8(8 + g, minima[g]! | (minima[g + 4]! >> 4) << 6);
      block.setUint8(12 + g, (scales[g + 4]! & 15) | (minima[g + 4]! & 15) << 4);
    }
    groups.forEach((group, g) =>
      group.forEach((value, j) => {
        const at = 16 + 32 * (g >> 1) + j;
        const code = codeOf(value + unitOfMinima * minima[g]!, unit * scales[g]!, 15);
        block.setUint8(at, block.getUint8(at) | code << 4 * (g & 1));
      })
    );
  });
}

/** Q6_K: per group of 16 the largest magnitude in 31 steps; scales in 127 steps of the block's largest. */
export function encodeQ6_K(values: Float32Array): Uint8Array {
  return encodeBlocks(values, 210, (numbers, block) => {
    const groups = Array.from({ length: 16 }, (_, g) => numbers.subarray(16 * g, 16 * g + 16));
    const steps = groups.map((group) => Math.max(...group.map(Math.abs)) / 31);
    const unit = Math.f16round(Math.max(...steps) / 127);
    block.setFloat16(208, unit, true);
    groups.forEach((group, g) => {
      // Every other scale is negative, as the format allows.
      const scale = codeOf(steps[g]!, unit, 127) * (g % 2 === 0 ? 1 : -1);
      block.setInt8(192 + g, scale);
      group.forEach((value, j) => {
        const step = unit * scale;
        const code = step === 0 ? 32 : codeOf(value + 32 * step, step, 63);
        putQ6Code(block, 16 * g + j, code);
      });
    });
  });
}

/** Of 128 numbers, 64 bytes have the low halves of two each, and 32 the upper pairs of four. */
function putQ6Code(block: DataView, i: number, code: number): void {
  const [half, place] = [i >> 7, i & 127];
  const low = 64 * half + (place & 63);
  const high = 128 + 32 * half + (place & 31);
  block.setUint8(low, block.getUint8(low) | (code & 15) << 4 * (place >> 6));
  block.setUint8(high, block.getUint8(high) | (code >> 4) << 2 * (place >> 5));
}

function codeOf(value: number, step: number, most: number): number {
  return step === 0 ? 0 : Math.max(0, Math.min(most, Math.round(value / step)));
}

function encodeBlocks(
  values: Float32Array,
  blockBytes: number,
  encode: (numbers: Float32Array, block: DataView) => void,
): Uint8Array {
  const bytes = new Uint8Array(values.length / BLOCK * blockBytes);
  for (let i = 0; i < values.length / BLOCK; i++) {
    const block = new DataView(bytes.buffer, i * blockBytes, blockBytes);
    encode(values.subarray(i * BLOCK, (i + 1) * BLOCK), block);
  }
  return bytes;
}
