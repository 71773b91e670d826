import type { QuantizedGroups } from "../pack_rows.ts";

/** Numbers in a block of Q4_0 and Q8_0, which is a group of the device's formats. */
const GROUP = 32;

/**
 * The codes and scales of blocks that the device's formats hold as they are: Q8_0 is int8 and Q4_0
 * int4 in groups of 32. Undefined for all other types, whose blocks are not read.
 */
export function storedGroups(
  type: string,
  readBlocks: () => Uint8Array,
): QuantizedGroups | undefined {
  if (type === "Q8_0") return splitBlocks(readBlocks(), GROUP, copyCodes);
  if (type === "Q4_0") return splitBlocks(readBlocks(), GROUP / 2, unpackNibbles);
  return undefined;
}

/** Separates scales, f16 at the front of each block, and codes. */
function splitBlocks(
  blocks: Uint8Array,
  codeBytes: number,
  unpack: (stored: Uint8Array, codes: Uint8Array) => void,
): QuantizedGroups {
  const numBlocks = blocks.byteLength / (2 + codeBytes);
  const codes = new Uint8Array(numBlocks * GROUP);
  const scales = new Uint8Array(2 * numBlocks);
  for (let i = 0; i < numBlocks; i++) {
    const at = i * (2 + codeBytes);
    scales.set(blocks.subarray(at, at + 2), 2 * i);
    unpack(
      blocks.subarray(at + 2, at + 2 + codeBytes),
      codes.subarray(i * GROUP, (i + 1) * GROUP),
    );
  }
  return { codes, scales: new Float16Array(scales.buffer) };
}

function copyCodes(stored: Uint8Array, codes: Uint8Array): void {
  codes.set(stored);
}

/** Byte j has the codes of numbers j (low half) and j + 16. */
function unpackNibbles(stored: Uint8Array, codes: Uint8Array): void {
  for (let j = 0; j < stored.length; j++) {
    codes[j] = stored[j]! & 15;
    codes[j + stored.length] = stored[j]! >> 4;
  }
}
