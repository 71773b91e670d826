import { createHash } from "node:crypto";
import type { Quantization } from "../core/weight_format.ts";
import type { Weights } from "./safetensors.ts";

/** Bytes hashed at each sampled place of a tensor. */
const SAMPLE_BYTES = 256;

/**
 * SHA-256, hexadecimal, that tells one model from another, for keys of cached KV blocks.
 *
 * Covers config.json's text, every header (names, types, shapes) and samples of every tensor: its
 * first, middle and last 256 bytes. Headers alone would not do, since all fine-tunes of a model
 * share them. Reading every byte would, at the price of reading the checkpoint twice; so this is an
 * identity for one's own models, not a proof that no byte was changed. Quantized, a model computes
 * other KV than it does in its own type, and so is another.
 */
export function modelFingerprint(
  configText: string,
  weights: Weights,
  quantization?: Quantization,
): string {
  const hash = createHash("sha256");
  if (quantization !== undefined) {
    hash.update(`${quantization.method} in groups of ${quantization.groupSize}\0`);
  }
  hash.update(`${configText.length}\0${configText}\0${weights.headerDigests().join("\0")}`);
  const sample = new Uint8Array(SAMPLE_BYTES);
  for (const name of weights.names()) {
    const { bytes } = weights.tensor(name);
    const count = Math.min(SAMPLE_BYTES, bytes);
    const last = bytes - count;
    for (const offset of new Set([0, Math.floor(last / 2), last])) {
      const piece = sample.subarray(0, count);
      weights.readRange(name, offset, piece);
      hash.update(piece);
    }
  }
  return hash.digest("hex");
}
