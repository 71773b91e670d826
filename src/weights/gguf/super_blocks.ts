import { type DecodeBlock, halfAt, signedAt } from "./block.ts";
import { IQ4_LEVELS } from "./small_blocks.ts";

/**
 * Formats with blocks of 256 numbers, as GGUF defines them: groups of 16 or 32 have scales (and in
 * some, minima) of a few bits, in units of the block's own f16.
 *
 * Products of those scales and the codes are exact in f64, so that storing a result rounds it to
 * f32 once, as the rule in f32 does.
 */
const GROUPS_OF_16 = 16;
const GROUPS_OF_32 = 8;

/**
 * Q2_K: groups of 16. Bytes: scale (low half) and minimum (high half) of each group [16]; codes of
 * 2 bits [64]; unit of scales; unit of minima. A run of 128 numbers takes 32 bytes of codes, whose
 * bit pairs hold numbers 32 apart.
 */
export const decodeQ2_K: DecodeBlock = (bytes, at, into, to) => {
  const unit = halfAt(bytes, at + 80);
  const unitOfMinima = halfAt(bytes, at + 82);
  for (let group = 0; group < GROUPS_OF_16; group++) {
    const scale = unit * (bytes[at + group]! & 15);
    const minimum = unitOfMinima * (bytes[at + group]! >> 4);
    const codes = at + 16 + pairByte(group);
    const shift = pairShift(group);
    for (let j = 0; j < 16; j++) {
      into[to + 16 * group + j] = scale * ((bytes[codes + j]! >> shift) & 3) - minimum;
    }
  }
};

/**
 * Q3_K: groups of 16. Bytes: third bits of the codes [32], bit k of byte j that of number 32 k + j;
 * their low bits [64], as in Q2_K; scales of 6 bits [12]; unit. Codes less 4, scales less 32.
 */
export const decodeQ3_K: DecodeBlock = (bytes, at, into, to) => {
  const unit = halfAt(bytes, at + 108);
  for (let group = 0; group < GROUPS_OF_16; group++) {
    const scale = unit * (scaleOfQ3(bytes, at + 96, group) - 32);
    const thirds = at + 16 * (group & 1);
    const codes = at + 32 + pairByte(group);
    const shift = pairShift(group);
    for (let j = 0; j < 16; j++) {
      const third = (bytes[thirds + j]! >> (group >> 1)) & 1;
      into[to + 16 * group + j] = scale * (((bytes[codes + j]! >> shift) & 3) + 4 * third - 4);
    }
  }
};

/** Low halves of the 6 bits lie in 8 bytes, two groups to each; the upper pairs in 4, four each. */
function scaleOfQ3(bytes: Uint8Array, at: number, group: number): number {
  const low = (bytes[at + (group & 7)]! >> (group < 8 ? 0 : 4)) & 15;
  const high = (bytes[at + 8 + (group & 3)]! >> (2 * (group >> 2))) & 3;
  return low | (high << 4);
}

/** First byte of a group of 16 whose bit pairs lie as in Q2_K. */
function pairByte(group: number): number {
  return 32 * (group >> 3) + 16 * (group & 1);
}

/** Lowest bit of its pairs in these bytes. */
function pairShift(group: number): number {
  return 2 * ((group >> 1) & 3);
}

/**
 * Q4_K: groups of 32. Bytes: unit of scales; unit of minima; both of each group, 6 bits [12]; codes
 * of 4 bits [128], of which 32 bytes hold two groups, one in the low halves and one in the high.
 */
export const decodeQ4_K: DecodeBlock = (bytes, at, into, to) => {
  const unit = halfAt(bytes, at);
  const unitOfMinima = halfAt(bytes, at + 2);
  for (let group = 0; group < GROUPS_OF_32; group++) {
    const scale = unit * scaleOfK(bytes, at + 4, group);
    const minimum = unitOfMinima * minimumOfK(bytes, at + 4, group);
    const codes = at + 16 + 32 * (group >> 1);
    const shift = 4 * (group & 1);
    for (let j = 0; j < 32; j++) {
      into[to + 32 * group + j] = scale * ((bytes[codes + j]! >> shift) & 15) - minimum;
    }
  }
};

/** Q5_K: as Q4_K, with the fifth bits of the codes [32] first, a bit of byte j for each group. */
export const decodeQ5_K: DecodeBlock = (bytes, at, into, to) => {
  const unit = halfAt(bytes, at);
  const unitOfMinima = halfAt(bytes, at + 2);
  for (let group = 0; group < GROUPS_OF_32; group++) {
    const scale = unit * scaleOfK(bytes, at + 4, group);
    const minimum = unitOfMinima * minimumOfK(bytes, at + 4, group);
    const fifths = at + 16;
    const codes = at + 48 + 32 * (group >> 1);
    const shift = 4 * (group & 1);
    for (let j = 0; j < 32; j++) {
      const code = ((bytes[codes + j]! >> shift) & 15) | (((bytes[fifths + j]! >> group) & 1) << 4);
      into[to + 32 * group + j] = scale * code - minimum;
    }
  }
};

/** Scales of groups 0 to 3 lie in bytes of their own, those of 4 to 7 in 4 bits and 2 elsewhere. */
function scaleOfK(bytes: Uint8Array, at: number, group: number): number {
  if (group < 4) return bytes[at + group]! & 63;
  return (bytes[at + group + 4]! & 15) | ((bytes[at + group - 4]! >> 6) << 4);
}

function minimumOfK(bytes: Uint8Array, at: number, group: number): number {
  if (group < 4) return bytes[at + group + 4]! & 63;
  return (bytes[at + group + 4]! >> 4) | ((bytes[at + group]! >> 6) << 4);
}

/**
 * Q6_K: groups of 16. Bytes: low halves of the codes [128]; their upper pairs [64]; scales in two's
 * complement [16]; unit. Codes less 32. Of 128 numbers, 64 bytes hold the low halves of number j
 * and j + 64, 32 bytes the upper pairs of numbers 32 apart.
 */
export const decodeQ6_K: DecodeBlock = (bytes, at, into, to) => {
  const unit = halfAt(bytes, at + 208);
  for (let group = 0; group < GROUPS_OF_16; group++) {
    const scale = unit * signedAt(bytes, at + 192 + group);
    const lows = at + 64 * (group >> 3) + 16 * (group & 3);
    const lowShift = 4 * ((group >> 2) & 1);
    const highs = at + 128 + pairByte(group);
    const highShift = pairShift(group);
    for (let j = 0; j < 16; j++) {
      const low = (bytes[lows + j]! >> lowShift) & 15;
      const high = (bytes[highs + j]! >> highShift) & 3;
      into[to + 16 * group + j] = scale * ((low | (high << 4)) - 32);
    }
  }
};

/**
 * IQ4_XS: groups of 32. Bytes: unit; upper pairs of the scales, 2; their low halves, 4; codes of 4
 * bits [128], 16 bytes a group as in IQ4_NL. Scales less 32.
 */
export const decodeIQ4_XS: DecodeBlock = (bytes, at, into, to) => {
  const unit = halfAt(bytes, at);
  for (let group = 0; group < GROUPS_OF_32; group++) {
    const high = (bytes[at + 2 + (group >> 2)]! >> (2 * (group & 3))) & 3;
    const low = (bytes[at + 4 + (group >> 1)]! >> (4 * (group & 1))) & 15;
    const scale = unit * ((low | (high << 4)) - 32);
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 8 + 16 * group + j]!;
      into[to + 32 * group + j] = scale * IQ4_LEVELS[pair & 15]!;
      into[to + 32 * group + j + 16] = scale * IQ4_LEVELS[pair >> 4]!;
    }
  }
};
