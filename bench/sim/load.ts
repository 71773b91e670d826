/** One request of a session. */
export interface Turn {
  /** Milliseconds after the end of the turn before it, or after the start of the simulation. */
  readonly gapMs: number;
  readonly promptLen: number;
  /** Tokens generated, at least 1. */
  readonly outputLen: number;
  /** The prompt, made anew each time: workload traces are larger than memory. */
  readonly prompt: () => Uint32Array;
  /** The output's token `i`, as later turns have it in their prompts. */
  readonly token: (i: number) => number;
}

/** Requests of which each waits for the end of the one before. */
export interface Session {
  /** Default: the owner of all that name none. */
  readonly owner?: string;
  /** As of a request: a higher one first; default: 0. */
  readonly priority?: number;
  readonly turns: readonly Turn[];
}

/** What a server is to serve. */
export interface Load {
  readonly name: string;
  readonly sessions: readonly Session[];
}

/** The longest prompt and output together, tokens. */
export function maxLenOf({ sessions }: Load): number {
  let most = 0;
  for (const { turns } of sessions) {
    for (const { promptLen, outputLen } of turns) most = Math.max(most, promptLen + outputLen);
  }
  return most;
}

/** Requests of all sessions. */
export function numRequestsOf({ sessions }: Load): number {
  return sessions.reduce((sum, { turns }) => sum + turns.length, 0);
}
