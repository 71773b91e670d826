import {
  LENGTH_DISTRIBUTIONS,
  type LengthDistribution,
  sampleLengths,
} from "../../src/plan/request_lengths.ts";
import { SeededRandom } from "../../src/base/seeded_random.ts";
import type { Load, Session, Turn } from "./load.ts";

/** Ids of tokens that no two pieces of text share, so that only what is meant to be shared is. */
class Texts {
  #next = 1;

  /** A piece of text; its token `i` is the number returned, plus `i`. */
  of(numTokens: number): number {
    const first = this.#next;
    this.#next += numTokens;
    return first;
  }
}

/** A run of tokens: `length` consecutive ids from `first` on. */
interface Piece {
  readonly first: number;
  readonly length: number;
}

function join(pieces: readonly Piece[]): Uint32Array {
  const tokens = new Uint32Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const { first, length } of pieces) {
    for (let i = 0; i < length; i++) tokens[end++] = first + i;
  }
  return tokens;
}

function turnOf(gapMs: number, prompt: readonly Piece[], output: Piece): Turn {
  const pieces = [...prompt];
  return {
    gapMs,
    promptLen: pieces.reduce((sum, { length }) => sum + length, 0),
    outputLen: output.length,
    prompt: () => join(pieces),
    token: (i) => output.first + i,
  };
}

/** Gaps between the arrivals of a Poisson process. */
function exponential(random: SeededRandom, meanMs: number): number {
  return -Math.log(random.uniform()) * meanMs;
}

/** A log-normal length with a mean, at least 1. */
function drawLength(random: SeededRandom, mean: number, sigma: number): number {
  return Math.max(1, Math.round(mean * Math.exp(sigma * random.normal() - sigma ** 2 / 2)));
}

/** How much of a load there is. */
export interface LoadSize {
  /** Sessions. */
  readonly count: number;
  /** New sessions per second, of a Poisson process. */
  readonly perSecond: number;
  readonly seed: number;
}

/** Requests of one turn that share nothing, as long as those of a well-known data set. */
export function singleTurns(
  { count, perSecond, seed }: LoadSize,
  distribution: LengthDistribution = LENGTH_DISTRIBUTIONS[0]!,
): Load {
  const random = new SeededRandom(seed + 1);
  const texts = new Texts();
  let atMs = 0;
  const sessions = sampleLengths(distribution, { numRequests: count, seed }).map((lengths) => {
    atMs += exponential(random, 1000 / perSecond);
    const prompt = { first: texts.of(lengths.promptLen), length: lengths.promptLen };
    const output = { first: texts.of(lengths.outputLen), length: lengths.outputLen };
    return { turns: [turnOf(atMs, [prompt], output)] };
  });
  return { name: distribution.name, sessions };
}

/** What the turns of a conversation are like. */
interface Conversation {
  /** Tokens that all conversations begin with. */
  readonly systemLen: number;
  /** Mean tokens of a question or a tool's result, and of an answer. */
  readonly questionLen: number;
  readonly answerLen: number;
  readonly sigma: number;
  /** Mean turns: after each the conversation ends with the same probability. */
  readonly meanTurns: number;
  /** Mean milliseconds from an answer to the next question. */
  readonly thinkMs: number;
  readonly maxLen: number;
}

/** People who chat: answers come back as parts of later prompts, after a while. */
const CHAT: Conversation = {
  systemLen: 200,
  questionLen: 120,
  answerLen: 220,
  sigma: 0.8,
  meanTurns: 5,
  thinkMs: 20_000,
  maxLen: 8192,
};

/**
 * Agents that call tools in a loop: a long system prompt with the tools, short answers, results of
 * tools that come back soon; of a prompt, 95 % on average was there before.
 */
const AGENT: Conversation = {
  systemLen: 4000,
  questionLen: 350,
  answerLen: 80,
  sigma: 0.8,
  meanTurns: 15,
  thinkMs: 1500,
  maxLen: 32_768,
};

/** Conversations of several turns by people. */
export function chats(size: LoadSize): Load {
  return { name: "chat", sessions: conversations(CHAT, size) };
}

/** Tool loops. */
export function agents(size: LoadSize): Load {
  return { name: "agent", sessions: conversations(AGENT, size) };
}

function conversations(kind: Conversation, { count, perSecond, seed }: LoadSize): Session[] {
  const random = new SeededRandom(seed);
  const texts = new Texts();
  const system = { first: texts.of(kind.systemLen), length: kind.systemLen };
  let atMs = 0;
  return Array.from({ length: count }, () => {
    atMs += exponential(random, 1000 / perSecond);
    const turns: Turn[] = [];
    const said: Piece[] = [system];
    let length = system.length;
    do {
      const question = piece(texts, drawLength(random, kind.questionLen, kind.sigma));
      const answer = piece(texts, drawLength(random, kind.answerLen, kind.sigma));
      length += question.length + answer.length;
      if (length > kind.maxLen) break;
      said.push(question);
      const gapMs = turns.length === 0 ? atMs : exponential(random, kind.thinkMs);
      turns.push(turnOf(gapMs, said, answer));
      said.push(answer);
    } while (random.uniform() > 1 / kind.meanTurns);
    return { turns };
  });
}

function piece(texts: Texts, length: number): Piece {
  return { first: texts.of(length), length };
}

/** Prompts that begin alike in groups, all there at once. */
export interface GroupedPrompts {
  readonly numGroups: number;
  readonly perGroup: number;
  /** Tokens that a group's prompts share, and of each one's own. */
  readonly sharedLen: number;
  readonly ownLen: number;
  /** In turn over the groups, or group after group, which is depth-first order. */
  readonly order: "interleaved" | "depth-first";
}

/** A batch of prompts of few-shot examples or the branches of a search. */
export function grouped(
  { numGroups, perGroup, sharedLen, ownLen, order }: GroupedPrompts,
): Load {
  const texts = new Texts();
  const shared = Array.from({ length: numGroups }, () => piece(texts, sharedLen));
  const numRequests = numGroups * perGroup;
  const sessions = Array.from({ length: numRequests }, (_, i) => {
    const group = order === "interleaved" ? i % numGroups : Math.floor(i / perGroup);
    return { turns: [turnOf(0, [shared[group]!, piece(texts, ownLen)], piece(texts, 1))] };
  });
  return { name: `groups, ${order}`, sessions };
}

/** Owners of `tenants`: their share of the requests, and what the policies know of them. */
const TENANTS = [
  { owner: "bulk", share: 0.8, priority: 0, promptLen: 400, outputLen: 300 },
  { owner: "steady", share: 0.15, priority: 0, promptLen: 150, outputLen: 120 },
  { owner: "urgent", share: 0.05, priority: 1, promptLen: 100, outputLen: 60 },
] as const;

/** Requests of three owners at once: one sends most, one some, and one few that are urgent. */
export function tenants({ count, perSecond, seed }: LoadSize): Load {
  const random = new SeededRandom(seed);
  const texts = new Texts();
  let atMs = 0;
  const sessions = Array.from({ length: count }, () => {
    atMs += exponential(random, 1000 / perSecond);
    let rest = random.uniform();
    const { owner, priority, promptLen, outputLen } = TENANTS.find(({ share }) => {
      rest -= share;
      return rest <= 0;
    }) ?? TENANTS[0];
    const prompt = piece(texts, drawLength(random, promptLen, 0.8));
    const output = piece(texts, drawLength(random, outputLen, 0.8));
    return { owner, priority, turns: [turnOf(atMs, [prompt], output)] };
  });
  return { name: "three owners", sessions };
}
