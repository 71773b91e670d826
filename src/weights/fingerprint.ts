import { createHash } from "node:crypto";
import { type Quantization, quantizedDtype } from "../core/weight_format.ts";
import type { Checkpoint } from "./checkpoint.ts";

/** Bytes hashed at each sampled place of a tensor. */
const SAMPLE_BYTES = 256;

/**
 * SHA-256, hexadecimal, that tells one model from another, for keys of cached KV blocks.
 *
 * Covers config.json's text, every header (names, types, shapes) and samples of every tensor: its
 * first, middle and last 256 bytes. Headers alone are not enough, since all fine-tunes of a model
 * share them; hashing every byte would read the checkpoint twice. So this identifies one's own
 * models and does not prove that no byte was changed. A quantized model computes other KV, and so
 * has another fingerprint; a GGUF file's covers the formats that its blocks become.
 */
export function modelFingerprint(
  configText: string,
  weights: Checkpoint,
  quantization?: Quantization,
): string {
  const hash = createHash("sha256");
  if (quantization !== undefined) {
    const { method, groupSize, vocabulary = method, hasMinima = false } = quantization;
    const minima = hasMinima ? " with minima" : "";
    hash.update(`${method}${minima} in groups of ${groupSize}, vocabulary in ${vocabulary}\0`);
  }
  hash.update(`${configText.length}\0${configText}\0${weights.headerDigests().join("\0")}`);
  const sample = new Uint8Array(SAMPLE_BYTES);
  for (const name of weights.names()) {
    const { bytes, blocks } = weights.tensor(name);
    if (blocks !== undefined) {
      hash.update(`${name} as ${blocks.kept ?? quantizedDtype(blocks.nearest)}\0`);
    }
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
