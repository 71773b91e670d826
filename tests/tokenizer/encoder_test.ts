import { assert, assertEquals, assertThrows } from "@std/assert";
import { BPE, Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import fc from "fast-check";
import { loadTokenizer, type Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { withModelDir } from "../weights/checkpoint_files.ts";
import { DEMO_DIR, testWithData } from "./shared_data.ts";
import { cases } from "../support/runs.ts";

const REAL = [
  "llama-3.2",
  "qwen3",
  "gpt2",
  "tinyllama-1.1b",
  "phi-3-mini",
  "mistral-7b-v0.2",
  "deepseek-r1",
];

/** Pieces that rules of vocabularies differ about, added tokens among them. */
const PIECES = [
  ..."a|the| |  |\n|\n\n|\t|é|e\u0301|語。|한국|🦙|👩‍👩‍👧|123|4567|'s|!?|...|x=1;|▁|\r\n|Ġ|\ud800"
    .split("|"),
  ...["<|im_end|>", "<s>", "</s>", "<think>", "</think>", "<｜User｜>", "<|eot_id|>", "<|end|>"],
  ...["    return", "ﷺ", "\u200b", " <0x0A>", "<unk>", "<|im_", "<"],
];

/** A text of many pieces, some of them repeated; the same for a seed. */
function mixed(seed: number, numPieces: number): string {
  const piece = fc.tuple(fc.constantFrom(...PIECES), fc.constantFrom(1, 1, 1, 2, 7, 60));
  const pieces = fc.array(piece, { minLength: numPieces, maxLength: numPieces, size: "max" });
  const [sample] = fc.sample(pieces, { seed, numRuns: 1 });
  return sample!.map(([text, times]) => text.repeat(times)).join("");
}

function readJson(path: string): Record<string, unknown> {
  try {
    return JSON.parse(Deno.readTextFileSync(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return {};
    throw error;
  }
}

/** What the library alone makes of a text. */
function libraryOf(dir: string): (text: string) => number[] {
  const json = { added_tokens: [], ...readJson(`${dir}/tokenizer.json`) };
  const library = new LibraryTokenizer(json, readJson(`${dir}/tokenizer_config.json`));
  return (text) => library.encode(text, { add_special_tokens: false }).ids;
}

/** The vocabulary that was loaded last: tests of the same follow each other. */
let latest: {
  readonly dir: string;
  readonly tokenizer: Tokenizer;
  readonly expected: (text: string) => number[];
} | undefined;

function checkAgainstLibrary(dir: string, texts: readonly string[]): Tokenizer {
  if (latest?.dir !== dir) {
    latest = { dir, tokenizer: loadTokenizer(dir), expected: libraryOf(dir) };
  }
  const { tokenizer, expected } = latest;
  for (const text of texts) {
    const ids = [...tokenizer.encode(text, { addSpecialTokens: false })];
    assertEquals(ids, expected(text), JSON.stringify(text.slice(0, 200)));
  }
  return tokenizer;
}

/** Texts of several spans each; those without spaces are what spans are hardest for. */
function longTexts(): string[] {
  const numbers = Array.from({ length: 2500 }, (_, i) => ({ a: i * 7919, b: `x${i}` }));
  return [
    mixed(1, 8000),
    JSON.stringify(numbers),
    "日本語の文字列、テスト。".repeat(4000),
    "a\n \n\n  b\n".repeat(5000),
    "The quick brown fox, 1234567 of them, didn't jump. ".repeat(1200),
  ];
}

/** A SentencePiece vocabulary and a byte-level one. */
const OF_NOVEL = ["tinyllama-1.1b", "qwen3"];

for (const name of REAL) {
  if (cases(REAL, 1).includes(name)) testTexts(name);
  if (OF_NOVEL.includes(name)) testNovel(name);
}

function testTexts(name: string): void {
  testWithData(
    `Encoder gives the library's ids of long, short and odd texts with ${name}`,
    [`tokenizers/${name}`],
    (dir) => {
      const short = Array.from({ length: 100 }, (_, i) => mixed(i + 2, i % 40));
      const tokenizer = checkAgainstLibrary(dir!, [...short, ...longTexts()]);
      checkThatControlIsText(tokenizer);
    },
  );
}

function testNovel(name: string): void {
  testWithData(
    `Encoder gives the library's ids of a novel with ${name}`,
    ["corpora/war-and-peace.txt", `tokenizers/${name}`],
    (novel, dir) => {
      const text = Deno.readTextFileSync(novel!).slice(0, 80_000);
      checkAgainstLibrary(dir!, [text, text.replaceAll(" ", "")]);
    },
  );
}

Deno.test("Encoder gives the library's ids with the bundled vocabulary", () => {
  checkThatControlIsText(checkAgainstLibrary(DEMO_DIR, longTexts()));
});

/** No id of a control token comes out of a text where they count as text. */
function checkThatControlIsText(tokenizer: Tokenizer): void {
  assert(tokenizer.controlTokens.length > 0);
  const plain = { addSpecialTokens: false, parseSpecial: false };
  for (const control of tokenizer.controlTokens) {
    const [id] = tokenizer.encode(control, { addSpecialTokens: false });
    for (const text of [control, `a${control}b`, `${control} ${control}`]) {
      const ids = tokenizer.encode(text, plain);
      assert(ids.length > 1, text);
      if (control !== "<unk>") assert(!ids.includes(id!), text);
    }
  }
}

/** Work that the model does: UTF-16 units in the words it merges, and in the longest of them. */
function mergeWork(encode: () => void): { readonly total: number; readonly longest: number } {
  const work = { total: 0, longest: 0 };
  const bpe = BPE.prototype.bpe;
  BPE.prototype.bpe = function (word) {
    work.total += word.length;
    work.longest = Math.max(work.longest, word.length);
    return bpe.call(this, word);
  };
  try {
    encode();
  } finally {
    BPE.prototype.bpe = bpe;
  }
  return work;
}

for (const unit of ["the", "ab", "1234567890", " ", "é", "!?", "語"]) {
  Deno.test(`Encoder merges ${JSON.stringify(unit)} without an end in bounded words`, () => {
    const tokenizer = loadTokenizer(DEMO_DIR);
    for (const numChars of [2 ** 14, 2 ** 19]) {
      const text = unit.repeat(numChars / unit.length);
      let ids = new Uint32Array();
      const { total, longest } = mergeWork(() => ids = tokenizer.encode(text));
      const numBytes = new TextEncoder().encode(text).length;
      assert(longest <= 50_000, `a word of ${longest}`);
      assert(total <= 1.25 * numBytes, `${total} for ${numBytes} bytes`);
      assertEquals(tokenizer.decode(ids), text);
    }
  });
}

Deno.test("Encoder asks whether to go on at every span, and stops where it is told to", () => {
  const tokenizer = loadTokenizer(DEMO_DIR);
  const text = "the".repeat(2 ** 18);
  let asked = 0;
  tokenizer.encode(text, { onProgress: () => asked++ });
  assert(asked >= text.length / 20_000, `${asked} times`);
  const stop = () => {
    if (--asked < 10) throw new Error("enough");
  };
  assertThrows(() => tokenizer.encode(text, { onProgress: stop }), Error, "enough");
  assertEquals(asked, 9);
});

testWithData(
  "Encoder cuts a run of marks that has no end before it is normalized",
  ["tokenizers/qwen3"],
  (dir) => {
    const tokenizer = loadTokenizer(dir!);
    const normalize = String.prototype.normalize;
    const lengths: number[] = [];
    String.prototype.normalize = function (form) {
      lengths.push(this.length);
      return normalize.call(this, form);
    };
    try {
      tokenizer.encode("a" + "\u0301\u0316".repeat(5000));
    } finally {
      String.prototype.normalize = normalize;
    }
    assert(lengths.length >= 10_000 / 257 && Math.max(...lengths) <= 257);
  },
);

/** A vocabulary of a few letters, with its words marked as a pre-tokenizer says. */
function tinyJson(preTokenizer: unknown, normalizer: unknown, space: string) {
  const tokens = [...`abc.${space}`, "ab", "abc", `${space}a`, `${space}ab`, "<unk>"];
  return {
    added_tokens: [{ id: 9, content: "<unk>", special: true }],
    normalizer,
    pre_tokenizer: preTokenizer,
    post_processor: null,
    decoder: { type: space === "Ġ" ? "ByteLevel" : "Metaspace" },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      fuse_unk: true,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: ["a b", "ab c", `${space} a`, `${space}a b`],
    },
  };
}

const METASPACE = { type: "Metaspace", replacement: "▁" };
const MARKING: Record<string, [preTokenizer: unknown, normalizer: unknown, space: string]> = {
  "Metaspace, always": [{ ...METASPACE, prepend_scheme: "always" }, null, "▁"],
  "Metaspace, first": [{ ...METASPACE, prepend_scheme: "first" }, null, "▁"],
  "Metaspace, never": [{ ...METASPACE, prepend_scheme: "never" }, null, "▁"],
  "ByteLevel with a prefix": [{ type: "ByteLevel", add_prefix_space: true }, null, "Ġ"],
  "Gemma's split": [
    { type: "Split", pattern: { String: " " }, behavior: "MergedWithPrevious", invert: false },
    { type: "Replace", pattern: { String: " " }, content: "▁" },
    "▁",
  ],
};

for (const [name, rules] of Object.entries(MARKING)) {
  Deno.test(`Encoder gives the library's ids of long texts with ${name}`, () => {
    const files = { "tokenizer.json": JSON.stringify(tinyJson(...rules)) };
    withModelDir(files, (dir) => {
      const odd = "abcabc. xyz a b  abc ".repeat(4000);
      checkAgainstLibrary(dir, ["ab abc. c ".repeat(8000), odd, `<unk>${odd}<unk> ${odd}`, "z z"]);
    });
  });
}
