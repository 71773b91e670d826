import { assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  type DetokenizeOptions,
  Detokenizer,
  joinBytes,
  type TokenTable,
} from "../../src/tokenizer/detokenizer.ts";
import { loadTokenizer, type Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { DEMO_DIR, testWithData } from "./shared_data.ts";
import { runs } from "../support/runs.ts";

/** Cuts ids into pieces at the given fractions, pushes them and joins what comes out. */
function inPieces(
  table: TokenTable,
  ids: readonly number[],
  cuts: readonly number[],
  options?: DetokenizeOptions,
): string {
  const detokenizer = new Detokenizer(table, options);
  const places = cuts.map((cut) => Math.floor(cut * (ids.length + 1))).sort((a, b) => a - b);
  let text = "";
  let start = 0;
  for (const place of [...places, ids.length]) {
    text += detokenizer.push(ids.slice(start, place));
    start = Math.max(start, place);
  }
  return text + detokenizer.flush();
}

const CUTS = fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { maxLength: 12 });
const OPTIONS = fc.record({ skipSpecialTokens: fc.boolean(), continuesText: fc.boolean() });

/** Random ids with many bytes, spaces and special tokens among them, and ids of real text. */
function idsFor(tokenizer: Tokenizer) {
  const special = Array.from({ length: tokenizer.vocabSize }, (_, id) => id)
    .filter((id) => tokenizer.isSpecial(id)).slice(0, 4);
  const interesting = [...special, ...tokenizer.encode(" 🦙é語", { addSpecialTokens: false })];
  const anyId = fc.oneof(
    fc.nat(tokenizer.vocabSize + 10),
    fc.nat(300),
    fc.constantFrom(...interesting),
  );
  const ofText = fc.string({ unit: "binary", maxLength: 40 }).map((text) => [
    ...tokenizer.encode(text),
  ]);
  return fc.oneof(fc.array(anyId, { maxLength: 24 }), ofText);
}

function checkAgainstWhole(tokenizer: Tokenizer, numRuns: number): void {
  fc.assert(
    fc.property(idsFor(tokenizer), CUTS, OPTIONS, (ids, cuts, options) => {
      assertEquals(inPieces(tokenizer, ids, cuts, options), tokenizer.decode(ids, options));
    }),
    { seed: 3, numRuns },
  );
}

Deno.test("Detokenizer gives the whole text for any split of the bundled model's ids", () => {
  checkAgainstWhole(loadTokenizer(DEMO_DIR), 2000);
});

for (const name of ["llama-3.2", "qwen3", "tinyllama-1.1b"]) {
  testWithData(
    `Detokenizer gives the whole text for any split of ${name}'s ids`,
    [`tokenizers/${name}`],
    (dir) => checkAgainstWhole(loadTokenizer(dir!), 500),
  );
}

/** A vocabulary of the 256 bytes; id 256 is special. */
const BYTES: TokenTable = {
  dropsLeadingSpace: false,
  isSpecial: (id) => id === 256,
  tokenBytes: (id) => id === 256 ? Uint8Array.of(0x3c) : Uint8Array.of(id),
};

Deno.test("Detokenizer equals one TextDecoder over any bytes, well-formed or not", () => {
  const byte = fc.oneof(
    fc.nat(255),
    fc.constantFrom(0xe0, 0xed, 0xf0, 0xf4, 0xf5, 0xc0, 0xc2, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf),
  );
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 16 }), CUTS, (bytes, cuts) => {
      const expected = new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));
      assertEquals(inPieces(BYTES, bytes, cuts), expected);
    }),
    { seed: 5, numRuns: runs(5000) },
  );
});

Deno.test("Detokenizer never emits part of a character, and not later than its last byte", () => {
  const bytes = new TextEncoder().encode("aé語🦙z");
  const detokenizer = new Detokenizer(BYTES);
  const pieces = [...bytes].map((byte) => detokenizer.push([byte]));
  assertEquals(pieces, ["a", "", "é", "", "", "語", "", "", "", "🦙", "z"]);
  assertEquals(detokenizer.flush(), "");
});

Deno.test("Detokenizer.flush() shows a character cut short, once", () => {
  const detokenizer = new Detokenizer(BYTES);
  assertEquals(detokenizer.push([0x61, 0xf0, 0x9f]), "a");
  assertEquals(detokenizer.flush(), "\ufffd");
  assertEquals(detokenizer.flush(), "");
});

Deno.test("Detokenizer keeps byte order marks, which are text here", () => {
  const bytes = [...new TextEncoder().encode("\ufeffa\ufeff")];
  const detokenizer = new Detokenizer(BYTES);
  const pieces = bytes.map((byte) => detokenizer.push([byte]));
  assertEquals(pieces.join(""), "\ufeffa\ufeff");
});

Deno.test("Detokenizer joins bytes across a special token that it skips", () => {
  const skipping = new Detokenizer(BYTES, { skipSpecialTokens: true });
  assertEquals(skipping.push([0xc3, 256, 0xa9]), "é");
  const showing = new Detokenizer(BYTES);
  assertEquals(showing.push([0xc3, 256, 0xa9]), "\ufffd<\ufffd");
});

Deno.test("Detokenizer drops one leading space where the vocabulary adds one", () => {
  const table: TokenTable = { ...BYTES, dropsLeadingSpace: true };
  assertEquals(inPieces(table, [0x20, 0x20, 0x61], [0.3, 0.6]), " a");
  assertEquals(inPieces(table, [0x61, 0x20], []), "a ");
  assertEquals(inPieces(table, [0x20, 0x61], [], { continuesText: true }), " a");
});

Deno.test("joinBytes() lays the parts one after the other", () => {
  const parts = [Uint8Array.of(1), new Uint8Array(), Uint8Array.of(2, 3)];
  assertEquals(joinBytes(parts), Uint8Array.of(1, 2, 3));
  assertEquals(joinBytes([]), new Uint8Array());
});
