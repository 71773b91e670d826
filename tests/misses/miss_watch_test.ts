import { assert, assertEquals } from "@std/assert";
import type { FoundPrompt } from "../../src/core/found_prompt.ts";
import { describeMiss, type MissCause } from "../../src/core/miss_report.ts";
import type { OriginMessage } from "../../src/core/prompt_origin.ts";
import { MissWatch, type MissWatchOptions } from "../../src/misses/miss_watch.ts";

const BLOCK_SIZE = 4;
const COUNTERS = { numEvictedBlocks: 0, numResetBlocks: 0, numRestarts: 0 };

/** A watch over a tokenizer of one byte per token. */
function watchOf(changes: Partial<MissWatchOptions> = {}) {
  const causes: MissCause[] = [];
  const watch = new MissWatch({
    maxBytes: 2 ** 20,
    isCaching: true,
    textOf: (ids) => new TextDecoder().decode(Uint8Array.from(ids)),
    hasPartialCaches: () => false,
    onCause: (cause) => causes.push(cause),
    ...changes,
  });
  return { watch, causes };
}

const bytes = (text: string) => Uint32Array.from(new TextEncoder().encode(text));

/** A chat as the plainest template writes it. */
function chat(
  turns: readonly (readonly [role: string, content: string])[],
  numCachedTokens: number,
  changes: Partial<FoundPrompt> = {},
): FoundPrompt {
  const messages = turns.map(([role, content]): OriginMessage => ({ role, content }));
  const text = turns.map(([role, content]) => `<${role}>${content}\n`).join("");
  return {
    ...{
      owner: "k",
      scope: "k",
      numCachedTokens,
      isRead: false,
      counters: COUNTERS,
      blockSize: BLOCK_SIZE,
    },
    ids: bytes(`${text}<assistant>`),
    origin: { messages, variables: {}, numChars: text.length },
    ...changes,
  };
}

const FIRST = [["system", "Be kind"], ["user", "Why is the sky blue?"]] as const;
const NEXT = [...FIRST, ["assistant", "Because."], ["user", "Why?"]] as const;
const ANSWER = [...bytes("Because.\n")];
/** Tokens of the first prompt and its answer, the last one not computed, in whole blocks. */
const LEFT = 4 * Math.floor((chat(FIRST, 0).ids.length + ANSWER.length - 1) / 4);
/** As many tokens as may be found of the second prompt. */
const MOST = 4 * Math.floor((chat(NEXT, 0).ids.length - 1) / 4);

Deno.test("MissWatch has nothing to say of a prompt that finds all that was left", () => {
  const { watch, causes } = watchOf();
  watch.observe(chat(FIRST, 0)).answered(ANSWER);
  const { report } = watch.observe(chat(NEXT, LEFT));
  assertEquals([report.cause, report.numExpectedTokens], [undefined, LEFT]);
  assertEquals(watch.observe(chat(NEXT, MOST)).report.cause, undefined);
  assertEquals(causes, ["new_conversation"]);
  assert(describeMiss(report).endsWith("were found, as many as could be"));
});

Deno.test("MissWatch tells why blocks are gone", () => {
  const later = (change: Partial<typeof COUNTERS>) => ({ counters: { ...COUNTERS, ...change } });
  const evicted = { numTokens: 8, agoMs: 2500 };
  const cases: readonly [MissCause, Partial<FoundPrompt>, Partial<MissWatchOptions>][] = [
    ["evicted", { evicted }, {}],
    ["evicted", later({ numEvictedBlocks: 3 }), {}],
    ["cache_reset", later({ numResetBlocks: 3, numEvictedBlocks: 3 }), {}],
    ["cache_reset", later({ numRestarts: 1 }), {}],
    ["not_computed", {}, {}],
    ["not_kept", {}, { hasPartialCaches: () => true }],
    ["prompt_read", { isRead: true }, {}],
    ["cache_off", {}, { isCaching: false }],
    ["cache_scope", { scope: "k salt" }, {}],
    ["new_conversation", { owner: "other", scope: "other" }, {}],
  ];
  for (const [cause, changes, options] of cases) {
    const { watch } = watchOf(options);
    watch.observe(chat(FIRST, 0)).answered(ANSWER);
    const { report } = watch.observe(chat(NEXT, 4, changes));
    assertEquals(report.cause, cause);
    assertEquals(report.divergence, undefined);
    assertEquals(
      report.numExpectedTokens,
      cause === "cache_scope" || cause === "new_conversation" ? 4 : LEFT,
    );
  }
  const { watch } = watchOf();
  watch.observe(chat(FIRST, 0)).answered(ANSWER);
  const { report } = watch.observe(chat(NEXT, 4, { evicted }));
  assert(
    describeMiss(report).endsWith(": its blocks were evicted 2.5 s ago"),
    describeMiss(report),
  );
});

Deno.test("MissWatch shows no text of another scope, and names it only to a request with the whole prompt", () => {
  const { watch } = watchOf();
  watch.observe(chat(FIRST, 0)).answered(ANSWER);
  const others = [["system", "Be terse"], ...FIRST.slice(1)] as const;
  for (const turns of [others, [FIRST[0], ["user", "Why is the sky red?"]] as const]) {
    const guess = watch.observe(chat(turns, 0, { scope: "k salt" })).report;
    assertEquals([guess.cause, guess.divergence], ["new_conversation", undefined]);
  }
  const stranger = watch.observe(chat(NEXT, 0, { owner: "o", scope: "o" })).report;
  assertEquals([stranger.cause, stranger.divergence], ["new_conversation", undefined]);
});

Deno.test("MissWatch remembers each answer to a prompt", () => {
  const { watch } = watchOf();
  const { answered } = watch.observe(chat(FIRST, 0));
  answered([...bytes("Rayleigh.\n")]);
  answered(ANSWER);
  const { report } = watch.observe(chat(NEXT, LEFT));
  assertEquals([report.cause, report.numExpectedTokens], [undefined, LEFT]);
});

Deno.test("MissWatch names nothing of short prompts but that they are short", () => {
  const { watch } = watchOf({});
  const short = { ...chat(FIRST, 0), ids: bytes("abc") };
  assertEquals(watch.observe(short).report.cause, "too_short");
  assertEquals(watch.observe({ ...short, ids: bytes("abcdefgh") }).report.cause, "too_short");
});

Deno.test("MissWatch compares prompts that are no chats by their first tokens", () => {
  const { watch } = watchOf();
  const text = (content: string, numCachedTokens: number) =>
    watch.observe({ ...chat([], numCachedTokens), origin: undefined, ids: bytes(content) });
  const start = "A long time ago there was ";
  const { answered } = text(`${start}at 10:15 a fox in the woods`, 0);
  answered([...bytes(" who ran")]);
  const clock = text(`${start}at 10:16 a fox in the woods`, 32).report;
  assertEquals([clock.cause, clock.divergence?.part], ["clock", { field: "prompt" }]);
  assertEquals([clock.divergence?.position, clock.divergence?.new.slice(0, 5)], [33, "6 a f"]);
  const edited = text(`${start}at 10:15 a hen in the woods`, 36).report;
  assertEquals([edited.cause, edited.divergence?.position], ["message_edited", 37]);
  const changed = text(`${start}at 10:15 a fox in the woods that slept`, 52).report;
  assertEquals(changed.cause, "answer_changed");
});

Deno.test("MissWatch of no bytes remembers and names nothing", () => {
  const { watch, causes } = watchOf({ maxBytes: 0 });
  watch.observe(chat(FIRST, 0)).answered(ANSWER);
  assertEquals(watch.observe(chat(NEXT, 0)).report.cause, undefined);
  assertEquals([watch.numBytes, causes], [0, []]);
});
