import { assertEquals, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { parseTokenBytesScheme } from "../../src/tokenizer/token_bytes.ts";

const REPLACE = { type: "Replace", pattern: { String: "▁" }, content: " " };
const STRIP = { type: "Strip", content: " ", start: 1, stop: 0 };

function parse(decoder: unknown) {
  return parseTokenBytesScheme(decoder, "t.json");
}

function sequence(...decoders: unknown[]) {
  return { type: "Sequence", decoders };
}

Deno.test("parseTokenBytesScheme() maps each byte-level character to its byte", () => {
  const { bytesOf, dropsLeadingSpace } = parse({ type: "ByteLevel" });
  assertEquals(dropsLeadingSpace, false);
  assertEquals(bytesOf("ĠaÃ¼Ċ"), Uint8Array.of(0x20, 0x61, 0xc3, 0xbc, 0x0a));
  // The alphabet in byte order: 33 control bytes, 94 printable, 34 more, then Latin-1, U+00AD last.
  const shifted = Array.from({ length: 68 }, (_, i) => String.fromCharCode(0x100 + i));
  const bytes = [...bytesOf(shifted.join(""))];
  const expected = Array.from({ length: 256 }, (_, byte) => byte)
    .filter((byte) => byte <= 0x20 || (byte >= 0x7f && byte <= 0xa0) || byte === 0xad);
  assertEquals(bytes, expected);
});

Deno.test("parseTokenBytesScheme() takes a token outside the byte alphabet as its text", () => {
  assertEquals(parse({ type: "ByteLevel" }).bytesOf("Ġ語"), new TextEncoder().encode("Ġ語"));
});

Deno.test("parseTokenBytesScheme() reads SentencePiece with byte fallback", () => {
  const llama = parse(sequence(REPLACE, { type: "ByteFallback" }, { type: "Fuse" }, STRIP));
  assertEquals(llama.dropsLeadingSpace, true);
  assertEquals(llama.bytesOf("▁▁ü"), new TextEncoder().encode("  ü"));
  assertEquals(llama.bytesOf("<0xF0>"), Uint8Array.of(0xf0));
  assertEquals(llama.bytesOf("<0xF0"), new TextEncoder().encode("<0xF0"));
  const gemma = parse(sequence(REPLACE, sequence({ type: "ByteFallback" }, { type: "Fuse" })));
  assertEquals(gemma.dropsLeadingSpace, false);
  const plain = parse(sequence(REPLACE));
  assertEquals(plain.bytesOf("<0xF0>"), new TextEncoder().encode("<0xF0>"));
});

Deno.test("parseTokenBytesScheme() reads Metaspace, which drops the space it prepends", () => {
  const metaspace = { type: "Metaspace", replacement: "_" };
  assertEquals(parse(metaspace).bytesOf("_a▁"), new TextEncoder().encode(" a▁"));
  assertEquals(parse(metaspace).dropsLeadingSpace, true);
  assertEquals(parse({ ...metaspace, prepend_scheme: "never" }).dropsLeadingSpace, false);
  assertEquals(parse({ ...metaspace, add_prefix_space: false }).dropsLeadingSpace, false);
});

Deno.test("parseTokenBytesScheme() refuses decoders it would have to guess", () => {
  const wrong = [
    { type: "WordPiece", prefix: "##" },
    sequence(REPLACE, { type: "CTC" }),
    sequence(REPLACE, STRIP),
    sequence(REPLACE, { type: "Fuse" }, { ...STRIP, start: 2 }),
    sequence({ ...REPLACE, pattern: { Regex: "▁" } }),
    sequence({ type: "ByteLevel" }, { type: "Fuse" }),
  ];
  for (const decoder of wrong) {
    assertThrows(() => parse(decoder), StartupError, "t.json: decoder step ");
  }
  for (const decoder of [null, undefined, "ByteLevel", sequence(), sequence({ type: "Fuse" })]) {
    assertThrows(() => parse(decoder), StartupError, '"decoder" must be ByteLevel or Sentence');
  }
});
