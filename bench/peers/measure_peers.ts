import { waitForIdleMachine } from "./idle_machine.ts";
import type { PeerProcess } from "./peer_process.ts";
import type { PeerTask } from "./peer_task.ts";
import { median } from "../median.ts";
import type { RateTable } from "./summary.ts";

/** What is measured; `brief` is for a peer that takes seconds per token. */
interface Workload {
  readonly name: string;
  readonly task: Omit<PeerTask, "seed">;
  readonly brief: Omit<PeerTask, "seed">;
}

function workloads(isQuick: boolean): Workload[] {
  const [prompt, context, steps] = isQuick ? [64, 16, 8] : [512, 128, 32];
  const decode = (batch: number): Workload => ({
    name: `decode_b${batch}`,
    task: { batch, promptLen: context, outputLen: 1 + steps },
    brief: { batch, promptLen: 4, outputLen: 1 + 2 },
  });
  return [
    {
      name: "prefill",
      task: { batch: 1, promptLen: prompt, outputLen: 1 },
      brief: { batch: 1, promptLen: 32, outputLen: 1 },
    },
    decode(1),
    decode(8),
  ];
}

/** A rate table while it grows. */
type Table = Record<string, Record<string, number[]>>;

/** Tokens per second of all peers. */
export interface MeasuredPeers {
  /** By the clock. */
  readonly rates: RateTable;
  /** By processor time, all threads of a peer added up; means nothing where a GPU computes. */
  readonly processorRates: RateTable;
  /** Share of the machine that other work took before the runs, from 0 to 1; NaN where unknown. */
  readonly othersBusy: number;
}

/**
 * Serves all workloads by all peers, in alternating order round by round.
 *
 * @param isBrief which peers are given the brief tasks, and one round.
 */
export async function measurePeers(
  peers: ReadonlyMap<string, PeerProcess>,
  isBrief: (peer: string) => boolean,
  { numRounds, isQuick, patienceMs, progress }: {
    /** Is told of each round that is done. */
    progress: (line: string) => void;
    numRounds: number;
    isQuick: boolean;
    patienceMs: number;
  },
): Promise<MeasuredPeers> {
  const rates: Table = {};
  const processorRates: Table = {};
  const busy: number[] = [];
  // Round 0 warms up: shaders, caches, thread pools.
  for (let round = 0; round <= numRounds; round++) {
    for (const { name, task, brief } of workloads(isQuick)) {
      // Each goes first in turn, so that a drift of the machine does not count for one of them.
      const order = round % 2 === 0 ? [...peers] : [...peers].toReversed();
      for (const [peerName, peer] of order) {
        if (isBrief(peerName) && round > 1) continue;
        if (round > 0) busy.push(await waitForIdleMachine(patienceMs));
        const given = isBrief(peerName) ? brief : task;
        const answer = await peer.serve({ ...given, seed: 2 + round });
        if (round === 0) continue;
        const [tokens, ms, cpuMs] = name === "prefill"
          ? [given.promptLen, answer.prefillMs, answer.prefillCpuMs]
          : [answer.decodeTokens, answer.decodeMs, answer.decodeCpuMs];
        ((rates[name] ??= {})[peerName] ??= []).push(tokens / ms * 1000);
        ((processorRates[name] ??= {})[peerName] ??= []).push(tokens / cpuMs * 1000);
      }
    }
    if (round > 0) progress(`round ${round} of ${numRounds}`);
  }
  return { rates, processorRates, othersBusy: median(busy) };
}
