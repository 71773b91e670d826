import { assert, assertEquals, assertThrows } from "@std/assert";
import { SeededRandom } from "../../src/base/seeded_random.ts";
import { type MooncakeRequest, parseMooncakeTrace } from "../../src/client/mooncake_trace.ts";
import { beginTimes, makeSessions, mooncakeSessions } from "../../src/client/workload.ts";
import { StartupError } from "../../src/core/errors.ts";

const SIZES = {
  numPrompts: 6,
  inputLen: 20,
  outputLen: 8,
  prefixLen: 40,
  numPrefixes: 2,
  turns: 3,
  seed: 1,
};
const AT_ONCE = { rate: undefined, burstiness: 1 };
const WORDS = { tokensPerWord: 1, overhead: 4, isMeasured: true };
const HOW = { pace: AT_ONCE, words: WORDS };

function numWords(text: string): number {
  return text.split(" ").length;
}

Deno.test("makeSessions() makes prompts of the length asked for, the template's tokens included", () => {
  const sessions = makeSessions("random", SIZES, HOW);
  assertEquals(
    sessions.map(({ turns }) => turns.map(({ text }) => numWords(text))),
    Array(6).fill([16]),
  );
  assertEquals(new Set(sessions.map(({ turns }) => turns[0]!.text)).size, 6);
  assertEquals(sessions, makeSessions("random", SIZES, HOW));
  const others = makeSessions("random", { ...SIZES, seed: 2 }, HOW);
  assert(others[0]!.turns[0]!.text !== sessions[0]!.turns[0]!.text);
  const halves = makeSessions("random", SIZES, { ...HOW, words: { ...WORDS, tokensPerWord: 2 } });
  assertEquals(numWords(halves[0]!.turns[0]!.text), 8);
});

Deno.test("makeSessions() shares beginnings among prompts in turns, and nothing else", () => {
  const texts = makeSessions("prefix", SIZES, HOW).map(({ turns }) => turns[0]!.text.split(" "));
  assertEquals(texts.map(({ length }) => length), Array(6).fill(36 + 20));
  const beginnings = texts.map((words) => words.slice(0, 36).join(" "));
  assertEquals(new Set(beginnings).size, 2);
  assertEquals(beginnings[0], beginnings[2]);
  assertEquals(new Set(texts.map((words) => words.slice(36).join(" "))).size, 6);
});

Deno.test("makeSessions() makes conversations of so many turns", () => {
  const sessions = makeSessions("turns", SIZES, HOW);
  assertEquals(sessions.map(({ turns }) => turns.length), Array(6).fill(3));
  assertEquals(sessions[0]!.turns.map(({ maxTokens }) => maxTokens), [8, 8, 8]);
});

Deno.test("beginTimes() spreads requests so that the rate is kept exactly, bursts or not", () => {
  const times = (rate: number | undefined, burstiness: number) =>
    beginTimes(400, { rate, burstiness }, new SeededRandom(7));
  assertEquals(times(undefined, 1), Array(400).fill(0));
  for (const burstiness of [0.25, 1, 4, 100]) {
    const begins = times(8, burstiness);
    assert(Math.abs(begins.at(-1)! - 50_000) < 1e-6);
    assert(begins.every((ms, i) => ms >= (begins[i - 1] ?? 0)));
  }
  // The deviation of a gamma's pauses beside their mean is 1 / sqrt(shape).
  const spread = (burstiness: number) => {
    const begins = times(8, burstiness);
    const pauses = begins.map((ms, i) => ms - (begins[i - 1] ?? 0));
    return Math.sqrt(pauses.reduce((sum, ms) => sum + (ms - 125) ** 2, 0) / 400) / 125;
  };
  for (const burstiness of [0.25, 1, 4, 100]) {
    const ratio = spread(burstiness) * Math.sqrt(burstiness);
    assert(ratio > 0.8 && ratio < 1.25, `${burstiness}: ${ratio}`);
  }
});

const TRACE = [
  '{"timestamp": 0, "input_length": 1000, "output_length": 100, "hash_ids": [0, 1]}',
  "",
  '{"timestamp": 3000, "input_length": 700, "output_length": 3, "hash_ids": [0, 2]}',
].join("\n");

Deno.test("parseMooncakeTrace() reads Mooncake's lines, and names what is wrong", () => {
  const requests: MooncakeRequest[] = parseMooncakeTrace(TRACE, "t");
  assertEquals(requests.map(({ hashIds }) => hashIds), [[0, 1], [0, 2]]);
  assertEquals(parseMooncakeTrace(TRACE, "t", 1).length, 1);
  const refusal = (text: string) =>
    assertThrows(() => parseMooncakeTrace(text, "t"), StartupError).message;
  assertEquals(refusal("\n\n"), "t holds no request");
  assertEquals(refusal("\n{"), "t:2 is no JSON");
  assertEquals(
    refusal('{"timestamp": -1}'),
    "t:1: timestamp must be a number of at least 0, got -1",
  );
  assertEquals(
    refusal('{"timestamp": 0, "input_length": 1, "output_length": 0, "hash_ids": [0.5]}'),
    "t:1: hash_ids must be a list of integers",
  );
});

Deno.test("mooncakeSessions() makes prompts that share what those of the trace shared, scaled", () => {
  const words = { ...WORDS, overhead: 0 };
  const sessions = mooncakeSessions(parseMooncakeTrace(TRACE, "t"), {
    scale: 8,
    speed: 10,
    seed: 3,
    words,
  });
  assertEquals(sessions.map(({ beginMs }) => beginMs), [0, 300]);
  assertEquals(sessions.map(({ turns }) => turns[0]!.maxTokens), [13, 1]);
  const [a, b] = sessions.map(({ turns }) => turns[0]!.text.split(" "));
  assertEquals([a!.length, b!.length], [125, 88]);
  assertEquals(a!.slice(0, 64), b!.slice(0, 64));
  assert(a!.slice(64, 88).join() !== b!.slice(64, 88).join());
});
