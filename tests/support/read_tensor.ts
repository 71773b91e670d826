import type { Checkpoint } from "../../src/weights/checkpoint.ts";

/** All bytes of a tensor. */
export function readTensor(weights: Checkpoint, name: string): Uint8Array<ArrayBuffer> {
  const into = new Uint8Array(weights.tensor(name).bytes);
  weights.readRange(name, 0, into);
  return into;
}
