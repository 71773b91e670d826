import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { TokenEvent } from "../../../src/core/token_event.ts";
import { SequenceText, type TextPiece } from "../../../src/http/answer/sequence_text.ts";
import { bytesOf } from "../fake_engine.ts";
import { EOS, FakeStopStrings, FakeText, pieceId } from "../fake_text.ts";
import { runs } from "../../support/runs.ts";

const vocabulary = new FakeText();

function sequence(stops: string[] = [], changes: Partial<{ includeStop: boolean }> = {}) {
  return new SequenceText({
    index: 0,
    detokenizer: vocabulary.createDetokenizer(),
    stopStrings: new FakeStopStrings(stops),
    includeStop: false,
    namedStopTokenIds: new Set([7]),
    ...changes,
  });
}

/** Events of tokens with log-probabilities, the last of them with `finishReason`. */
function eventsOf(tokens: number[], finishReason?: TokenEvent["finishReason"]): TokenEvent[] {
  return tokens.map((token, i) => ({
    requestId: "r",
    index: 0,
    token,
    logprob: -i,
    topLogprobs: [],
    ...(i === tokens.length - 1 && finishReason !== undefined ? { finishReason } : {}),
  }));
}

/** Pushes until the sequence ends, as the collector does. */
function pushAll(text: SequenceText, events: TokenEvent[]): TextPiece[] {
  const pieces: TextPiece[] = [];
  for (const event of events) {
    if (text.finish === undefined) pieces.push(text.push(event));
  }
  return pieces;
}

function textOf(pieces: TextPiece[]): string {
  return pieces.map(({ text }) => text).join("");
}

function scoredTokens(pieces: TextPiece[]): number[] {
  return pieces.flatMap(({ scored }) => scored.map(({ token }) => token));
}

Deno.test("SequenceText prints tokens as they come and counts the stop token without printing it", () => {
  const text = sequence();
  const pieces = pushAll(text, eventsOf([...bytesOf("Hi"), EOS], "stop"));
  assertEquals(pieces.map((piece) => piece.text), ["H", "i", ""]);
  assertEquals(pieces.map(({ tokenIds }) => tokenIds), [[72], [105], [EOS]]);
  assertEquals(text.finish, { reason: "stop", stopReason: null });
  assertEquals(text.numTokens, 3);
  assertEquals(scoredTokens(pieces), bytesOf("Hi"));
});

Deno.test("SequenceText names the stop token that the request asked for", () => {
  const text = sequence();
  pushAll(text, eventsOf([65, 7], "stop"));
  assertEquals(text.finish, { reason: "stop", stopReason: 7 });
});

Deno.test("SequenceText never prints half a character", () => {
  const text = sequence();
  const pieces = pushAll(text, eventsOf(bytesOf("é€😀"), "length"));
  assertEquals(pieces.map((piece) => piece.text).filter((one) => one !== ""), ["é", "€", "😀"]);
  const cut = pushAll(sequence(), eventsOf(bytesOf("a😀").slice(0, 3), "length"));
  assertEquals(textOf(cut), "a\ufffd");
});

Deno.test("SequenceText reports the tokens of a character together with it", () => {
  const pieces = pushAll(sequence(), eventsOf(bytesOf("é!"), "length"));
  assertEquals(pieces.map(({ scored }) => scored.length), [0, 2, 1]);
  assertEquals(pieces[1]!.scored.map(({ textOffset }) => textOffset), [0, 0]);
});

Deno.test("SequenceText holds text and tokens back while they may be a stop string", () => {
  const pieces = pushAll(sequence(["STOP"]), eventsOf([...bytesOf("aSTx"), EOS], "stop"));
  assertEquals(pieces.map((piece) => piece.text), ["a", "", "", "STx", ""]);
  assertEquals(pieces.map(({ scored }) => scored.length), [1, 0, 0, 3, 0]);
});

Deno.test("SequenceText ends before a stop string and drops the tokens that made it", () => {
  const text = sequence(["STOP"]);
  const pieces = pushAll(text, eventsOf([...bytesOf("ab"), pieceId("XSTOPY"), 65]));
  assertEquals(textOf(pieces), "abX");
  assertEquals(text.finish, { reason: "stop", stopReason: "STOP" });
  assertEquals(text.numTokens, 3);
  // The last token began before the stop string, so its text is partly there.
  assertEquals(scoredTokens(pieces), [...bytesOf("ab"), pieceId("XSTOPY")]);
  const split = pushAll(sequence(["STOP"]), eventsOf(bytesOf("abSTOP")));
  assertEquals([textOf(split), scoredTokens(split)], ["ab", bytesOf("ab")]);
});

Deno.test("SequenceText keeps the stop string or stop token when told to", () => {
  const text = sequence(["STOP"], { includeStop: true });
  const pieces = pushAll(text, eventsOf([65, pieceId("XSTOPY")]));
  assertEquals(textOf(pieces), "AXSTOP");
  const ended = pushAll(sequence([], { includeStop: true }), eventsOf([65, 66], "stop"));
  assertEquals(textOf(ended), "AB");
});

Deno.test("SequenceText prefers a stop string over the length when both come with one token", () => {
  const text = sequence(["b"]);
  const pieces = pushAll(text, eventsOf(bytesOf("ab"), "length"));
  assertEquals([textOf(pieces), text.finish?.stopReason], ["a", "b"]);
});

Deno.test("SequenceText releases what it held when the sequence ends otherwise", () => {
  for (const reason of ["length", "abort"] as const) {
    const text = sequence(["STOP"]);
    const pieces = pushAll(text, eventsOf(bytesOf("aST"), reason));
    assertEquals([textOf(pieces), scoredTokens(pieces)], ["aST", bytesOf("aST")]);
    assertEquals(text.finish, { reason, stopReason: null });
  }
});

Deno.test("SequenceText agrees with cutting the whole text at the first stop string", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "é"), maxLength: 12 });
  const stops = fc.array(
    fc.string({ unit: fc.constantFrom("a", "b", "é"), minLength: 1, maxLength: 3 }),
    { maxLength: 3 },
  );
  fc.assert(
    fc.property(letters, stops, (whole, stops) => {
      const text = sequence(stops);
      const pieces = pushAll(text, eventsOf([...bytesOf(whole), EOS], "stop"));
      const ends = stops.map((stop) => whole.indexOf(stop)).filter((at) => at !== -1);
      const expected = ends.length === 0 ? whole : whole.slice(0, Math.min(...ends));
      const scored = pieces.flatMap((piece) => piece.scored);
      assertEquals(textOf(pieces), expected);
      assertEquals(typeof text.finish?.stopReason === "string", ends.length > 0);
      // Byte tokens: the reported tokens spell exactly the text.
      assertEquals(vocabulary.textOf(scored.map(({ token }) => token)), expected);
    }),
    { seed: 17, numRuns: runs(500) },
  );
});
