import { DeviceLostError } from "../../src/core/errors.ts";
import { serveIsolate } from "../../src/engine/isolate.ts";
import type { Batch, ChunkResult } from "../../src/core/batch.ts";
import { FAULT_INFO, type FaultName, FAULTS } from "./fault_names.ts";

/** What the fake model draws, always. */
const LETTER = "a".charCodeAt(0);

/** Each fault of an isolate, carried out in the middle of a step. */
const ACTS: Readonly<Record<FaultName, () => unknown>> = {
  throw: () => {
    throw new TypeError("a bug in the runner");
  },
  lost: () => {
    throw new DeviceLostError("The fake device is gone");
  },
  hang: () => new Promise(() => {}),
  loop: () => {
    // `terminate` ends it no more than one that computes, which would keep a processor from others.
    const nobodyWrites = new Int32Array(new SharedArrayBuffer(4));
    while (true) Atomics.wait(nobodyWrites, 0, 0, 100);
  },
  close: () => {
    globalThis.close();
    return new Promise(() => {});
  },
  exit: () => Deno.exit(7),
  heap: () => {
    const hoard: unknown[] = [];
    while (true) hoard.push(new Array(100_000).fill(0.5));
  },
};

/** A step takes a moment in which the event loop turns, as with a device that is waited for. */
async function run({ chunks }: Batch): Promise<ChunkResult[]> {
  await new Promise((resolve) => setTimeout(resolve, 10));
  for (const { tokens } of chunks) {
    const name = [...tokens].map((token) => FAULTS.get(token)).find((fault) => fault);
    if (name !== undefined) await ACTS[name]();
  }
  const drawn = chunks.filter(({ draw }) => draw !== undefined);
  return drawn.map(({ sequenceId }) => ({
    sequenceId,
    outputs: [{ type: "token", token: LETTER }],
  }));
}

serveIsolate(() =>
  Promise.resolve({ info: FAULT_INFO, modelFingerprint: "faulty", runner: { run } })
);
