/// <reference lib="dom" />
import { useEffect, useState } from "preact/hooks";
import type { Api } from "./api.ts";

/** What `/health` says of the server. */
export interface ServerState {
  readonly state: "unknown" | "starting" | "ready" | "restarting" | "draining" | "failed" | "away";
  /** Why it does not take requests, one sentence. */
  readonly reason?: string;
  /** The phase of its start that runs, with how far it is. */
  readonly phase?: string;
  /** Seconds since its start began. */
  readonly seconds?: number;
}

const STARTING_MS = 400;
const SETTLED_MS = 5000;

/** The state of the server, asked for often while it starts and seldom after that. */
export function useServerState(api: Api): ServerState {
  const [current, setCurrent] = useState<ServerState>({ state: "unknown" });
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    let hasEnded = false;
    const ask = async () => {
      const next = await readState(api);
      if (hasEnded) return;
      setCurrent((last) => JSON.stringify(last) === JSON.stringify(next) ? last : next);
      timer = setTimeout(ask, next.state === "ready" ? SETTLED_MS : STARTING_MS);
    };
    ask();
    return () => {
      hasEnded = true;
      clearTimeout(timer);
    };
  }, [api]);
  return current;
}

async function readState(api: Api): Promise<ServerState> {
  try {
    const response = await api.fetch("health");
    const { state, reason, start } = await response.json();
    return { state, ...(reason === undefined ? {} : { reason }), ...start };
  } catch {
    return { state: "away", reason: "The server does not answer" };
  }
}
