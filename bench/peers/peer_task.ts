import { cpuUsage } from "node:process";

/** Equal requests that a peer serves together, greedily. */
export interface PeerTask {
  readonly batch: number;
  /** Tokens of each prompt and of each answer. */
  readonly promptLen: number;
  readonly outputLen: number;
  /** Which prompts; tasks of different seeds share none. */
  readonly seed: number;
  /** Whether to report log-probabilities; timings then mean nothing. */
  readonly wantsLogprobs?: boolean;
}

/** Tokens and their natural log-probabilities, likeliest first. */
export type TopLogprobs = readonly (readonly [token: number, logprob: number])[];

/** What a peer reports of a task. */
export interface PeerAnswer {
  /** From the first prompt token to the last prompt's first output token, ms. */
  readonly prefillMs: number;
  /** Tokens computed in steps that decoded the whole batch, and the time these took, ms. */
  readonly decodeTokens: number;
  readonly decodeMs: number;
  /** Processor time of all threads over the same spans, ms; not that of a GPU. */
  readonly prefillCpuMs: number;
  readonly decodeCpuMs: number;
  /** Per sequence, the tokens drawn. */
  readonly tokens: readonly (readonly number[])[];
  /** Per sequence and step; present when asked for. */
  readonly logprobs?: readonly (readonly TopLogprobs[])[];
}

/** A peer's first line: what it is. */
export interface PeerGreeting {
  readonly description: string;
}

/** Processor time this process has taken so far, all threads, ms. */
export function processorMs(): number {
  const { user, system } = cpuUsage();
  return (user + system) / 1000;
}

/** How many log-probabilities are compared. */
export const NUM_LOGPROBS = 10;

/** Prompt `index` of a task: ordinary tokens, no two prompts with a common beginning. */
export function peerPrompt(task: PeerTask, index: number, vocabSize: number): Uint32Array {
  let state = (Math.imul(task.seed * 1009 + index + 1, 0x9e3779b9) >>> 0) || 1;
  return Uint32Array.from({ length: task.promptLen }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return 3 + (state >>> 0) % (vocabSize - 3);
  });
}

/** Reads tasks from standard input, one JSON line each, and answers each with one, until its end. */
export async function servePeer(
  greeting: PeerGreeting,
  serve: (task: PeerTask) => Promise<PeerAnswer>,
): Promise<void> {
  writeLine(greeting);
  let text = "";
  for await (const piece of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    text += piece;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      writeLine(await serve(JSON.parse(text.slice(0, end)) as PeerTask));
      text = text.slice(end + 1);
    }
  }
}

/** Marks the lines of the protocol among whatever else libraries print. */
export const PROTOCOL_MARK = "peer> ";

function writeLine(message: PeerGreeting | PeerAnswer): void {
  const bytes = new TextEncoder().encode(`${PROTOCOL_MARK}${JSON.stringify(message)}\n`);
  for (let done = 0; done < bytes.length;) done += Deno.stdout.writeSync(bytes.subarray(done));
}
