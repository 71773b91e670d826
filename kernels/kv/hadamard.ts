import hadamardSource from "./_hadamard.wgsl" with { type: "text" };

/** Most elements of one transform: as many as a lane holds. */
const MAX_BLOCK = 128;

/**
 * Elements that are transformed together: the largest power of two that divides a head, at most
 * 128.
 */
export function hadamardBlock(D: number): number {
  return Math.min(MAX_BLOCK, D & -D);
}

/**
 * The Walsh-Hadamard transform of each block of a head, in place: orthonormal and its own inverse,
 * so that products of two transformed vectors are those of the vectors.
 *
 * It spreads an outlier over its block, which leaves the scale of codes small (QuaRot, Ashkboos
 * 2024, arXiv:2404.00456). Takes `log2(block)` passes of additions, in the order of the kernels.
 */
export function hadamard(head: Float32Array): void {
  const block = hadamardBlock(head.length);
  const factor = Math.fround(1 / Math.sqrt(block));
  for (let d = 0; d < head.length; d++) head[d] = head[d]! * factor;
  for (let half = 1; half < block; half *= 2) {
    for (let low = 0; low < head.length; low++) {
      if ((low & half) !== 0) continue;
      const [a, b] = [head[low]!, head[low + half]!];
      head[low] = a + b;
      head[low + half] = a - b;
    }
  }
}

/** The same of a lane's registers `x0`, `x1`, ..., LANE_DIMS elements in blocks of HADAMARD. */
export const hadamardWgsl: string = hadamardSource;
