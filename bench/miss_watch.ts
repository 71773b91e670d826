// deno-lint-ignore-file no-console -- a bench prints its figures
/**
 * Processor time per request of telling why prompts miss the prefix cache, garbage collection
 * included:
 *
 *     deno run -A bench/miss_watch.ts [--quick]
 *
 * Conversations take turns, so that each prompt is looked up among those of all others. `hit`: the
 * next turn of a conversation, which finds all that was left. `miss`: the same with another date in
 * its system prompt. `first`: a conversation that begins, whose system prompt others have.
 */
import process from "node:process";
import type { FoundPrompt } from "../src/core/found_prompt.ts";
import type { PromptOrigin } from "../src/core/prompt_origin.ts";
import { MissWatch } from "../src/misses/miss_watch.ts";
import { loadTokenizer } from "../src/tokenizer/tokenizer.ts";

const IS_QUICK = Deno.args.includes("--quick");
const NUM_CONVERSATIONS = IS_QUICK ? 20 : 300;
const NUM_ROUNDS = IS_QUICK ? 2 : 10;
/** Tokens of the first prompt of a conversation, half of them the system prompt's. */
const LENGTHS = IS_QUICK ? [256] : [256, 2048, 16_384];
const DEMO_DIR = new URL("../models/demo", import.meta.url).pathname;
const BLOCK_SIZE = 16;
const COUNTERS = { numEvictedBlocks: 0, numResetBlocks: 0, numRestarts: 0 };
const KINDS = ["hit", "miss", "first"] as const;

const tokenizer = loadTokenizer(DEMO_DIR);

/** A conversation as its client keeps it. */
interface Talk {
  readonly number: number;
  readonly date: number;
  readonly turns: readonly string[];
}

/** One token per word, so that lengths are what they say. */
function idsOf(texts: readonly string[]): number[] {
  return texts.flatMap((text) => text.split(" ").map((word) => 300 + hash(word) % 1500));
}

function hash(text: string): number {
  let sum = 7;
  for (let i = 0; i < text.length; i++) sum = (Math.imul(sum, 31) + text.charCodeAt(i)) >>> 0;
  return sum;
}

function words(count: number, seed: number): string {
  return Array.from({ length: count }, (_, i) => `w${hash(`${seed} ${i}`) % 997}`).join(" ");
}

function prompt({ number, date, turns }: Talk, length: number): FoundPrompt {
  const system = `Day ${date} 2026 ${words(length / 2, 0)}`;
  const first = `Conversation ${number} ${words(length / 2, number)}`;
  const contents = [system, first, ...turns];
  const messages = contents.map((content, i) => ({
    role: i === 0 ? "system" : i % 2 === 1 ? "user" : "assistant",
    content,
  }));
  const numChars = contents.reduce((sum, content) => sum + content.length, 0);
  const origin: PromptOrigin = { messages, variables: {}, numChars };
  const ids = Uint32Array.from(idsOf(contents));
  return {
    ...{ owner: undefined, scope: undefined, ids, origin, isRead: false, counters: COUNTERS },
    numCachedTokens: 0,
    blockSize: BLOCK_SIZE,
  };
}

/** Microseconds of processor time of one prompt, by kind. */
function measure(length: number): Record<typeof KINDS[number], number> {
  const textOf = (ids: Uint32Array) => {
    const detokenizer = tokenizer.createDetokenizer({ skipSpecialTokens: false });
    return detokenizer.push([...ids]) + detokenizer.flush();
  };
  let numNamed = 0;
  const watch = new MissWatch({
    ...{ maxBytes: 2 ** 30, isCaching: true, textOf, hasPartialCaches: () => false },
    onCause: () => numNamed++,
  });
  let talks = Array.from({ length: NUM_CONVERSATIONS }, (_, number): Talk => ({
    ...{ number, date: 1, turns: [] },
  }));
  let numTalks = NUM_CONVERSATIONS;
  const answer = idsOf([words(32, 5)]);
  for (const talk of talks) watch.observe(prompt(talk, length)).answered(answer);
  const spent = { hit: 0, miss: 0, first: 0 };
  for (let round = 0; round < NUM_ROUNDS; round++) {
    for (const kind of KINDS) {
      talks = talks.map((talk) => {
        if (kind === "first") return { number: numTalks++, date: talk.date, turns: [] };
        const turns = [...talk.turns, words(32, 5), words(20, round)];
        return { ...talk, turns, date: talk.date + (kind === "miss" ? 1 : 0) };
      });
      const prompts = talks.map((talk) => {
        const one = prompt(talk, length);
        const cached = kind === "hit" ? one.ids.length - 20 : kind === "first" ? length / 2 : 0;
        return { ...one, numCachedTokens: Math.floor(cached / BLOCK_SIZE) * BLOCK_SIZE };
      });
      const named = numNamed;
      const began = process.cpuUsage();
      for (const one of prompts) watch.observe(one).answered(answer);
      const { user, system } = process.cpuUsage(began);
      spent[kind] += user + system;
      const share = (numNamed - named) / prompts.length;
      if (share !== (kind === "hit" ? 0 : 1)) throw new Error(`${kind}: ${share} are named`);
    }
  }
  const perPrompt = (us: number) => us / NUM_ROUNDS / NUM_CONVERSATIONS;
  return { hit: perPrompt(spent.hit), miss: perPrompt(spent.miss), first: perPrompt(spent.first) };
}

console.log(`microseconds of processor time per prompt, ${NUM_CONVERSATIONS} conversations`);
const rows = LENGTHS.map((length) => ({ tokens: length, ...measure(length) }));
console.table(
  rows.map((row) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, Number(value.toFixed(1))]))
  ),
);
console.log(JSON.stringify({ bench: "miss_watch", rows }));
