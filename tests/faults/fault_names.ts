import type { EngineInfo } from "../../src/core/engine_config.ts";
import { FAKE_INFO } from "../support/fake_worker.ts";

/** What may happen to an isolate. */
export const FAULT_NAMES = ["throw", "lost", "hang", "loop", "close", "exit", "heap"] as const;

/** One of them. */
export type FaultName = (typeof FAULT_NAMES)[number];

/** The letter that makes a fault happen when a prompt has it. */
export function letterOf(fault: FaultName): string {
  return String.fromCharCode("A".charCodeAt(0) + FAULT_NAMES.indexOf(fault));
}

/** Faults by the byte, which is also the token, of their letter. */
export const FAULTS: ReadonlyMap<number, FaultName> = new Map(
  FAULT_NAMES.map((name) => [letterOf(name).charCodeAt(0), name]),
);

/** A model with room for all requests of a drill at once, however long they take. */
export const FAULT_INFO: EngineInfo = {
  ...FAKE_INFO,
  vocabSize: 264,
  maxModelLen: 100_000,
  blockSize: 16,
  numBlocks: 200_000,
  maxNumBlocks: 200_000,
  maxNumSeqs: 32,
  maxNumBatchedTokens: 64,
};
