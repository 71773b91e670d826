import type { EvictedPrefix, MissReport } from "./miss_report.ts";
import type { PromptOrigin } from "./prompt_origin.ts";

/** What the engine had dropped when a prompt was looked up; what was cached before may be gone. */
export interface CacheCounters {
  readonly numEvictedBlocks: number;
  readonly numResetBlocks: number;
  readonly numRestarts: number;
}

/** A prompt of which the engine has said how much it found in the prefix cache. */
export interface FoundPrompt {
  /** Names the API key; undefined for requests without. */
  readonly owner: string | undefined;
  /** Names API key and `cache_salt` together; undefined for requests without either. */
  readonly scope: string | undefined;
  readonly ids: Uint32Array;
  /** Absent for a prompt that was given as text or tokens. */
  readonly origin: PromptOrigin | undefined;
  readonly numCachedTokens: number;
  readonly evicted?: EvictedPrefix | undefined;
  /** Whether all of it is computed, since it is read (`prompt_readout.ts`). */
  readonly isRead: boolean;
  readonly counters: CacheCounters;
  /** Tokens of a block. */
  readonly blockSize: number;
}

/** What was said of a prompt, and who takes its answers. */
export interface Observation {
  readonly report: MissReport;
  /** An answer to the prompt has ended, with these tokens. */
  answered(tokens: readonly number[]): void;
}

/** Tells why prompts miss the prefix cache. */
export interface MissPort {
  /** Takes note of a prompt that the engine has begun to answer. */
  observe(prompt: FoundPrompt): Observation;
}
