import { assert, assertEquals, assertThrows } from "@std/assert";
import { StartupError } from "../../../src/core/errors.ts";
import { loadTokenizer, type Tokenizer } from "../../../src/tokenizer/tokenizer.ts";
import { openGguf } from "../../../src/weights/gguf/gguf_file.ts";
import { pieceMerges } from "../../../src/weights/gguf/piece_merges.ts";
import { tokenizerConfigJson, tokenizerJson } from "../../../src/weights/gguf/tokenizer_json.ts";
import { testWithData } from "../../tokenizer/shared_data.ts";
import { byteLevelVocabulary } from "../../support/gguf_checkpoint.ts";
import { ggufFile, type Metadata } from "../../support/gguf_writer.ts";
import { withModelDir } from "../checkpoint_files.ts";
import { smallVocabulary } from "./small_gguf.ts";

/** What the metadata of a file without tensors stands for. */
function filesOf(metadata: Record<string, Metadata>): {
  readonly json: Record<string, unknown>;
  readonly config: Record<string, unknown>;
} {
  let files: ReturnType<typeof filesOf> | undefined;
  withModelDir({ "a.gguf": ggufFile(metadata, {}) }, (dir) => {
    const gguf = openGguf(`${dir}/a.gguf`);
    gguf.close();
    files = {
      json: { ...tokenizerJson(gguf.metadata) },
      config: { ...tokenizerConfigJson(gguf.metadata) },
    };
  });
  return files!;
}

function tokenizerOf(metadata: Record<string, Metadata>): Tokenizer {
  const { json, config } = filesOf(metadata);
  const texts = {
    "tokenizer.json": JSON.stringify(json),
    "tokenizer_config.json": JSON.stringify(config),
  };
  return loadTokenizer({ path: "a.gguf", texts });
}

function refusal(metadata: Record<string, Metadata>): string {
  const error = assertThrows(() => filesOf(metadata), StartupError);
  return error.message.replace(/^.*a\.gguf: /, "");
}

/** A SentencePiece vocabulary: pieces with scores, three special tokens and all bytes before. */
function pieces(scored: Record<string, number>, more: Record<string, Metadata> = {}) {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const tokens = ["<unk>", "<s>", "</s>", ...bytes, ...Object.keys(scored), "<turn>", "<tool>"];
  const types = tokens.map((token, id) =>
    id === 0 ? 2 : id < 3 || token === "<turn>" ? 3 : id < 259 ? 6 : token === "<tool>" ? 4 : 1
  );
  const scores = tokens.map((token) => scored[token] ?? 0);
  return {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": { strings: tokens },
    "tokenizer.ggml.scores": { f32s: scores },
    "tokenizer.ggml.token_type": { i32s: types },
    "tokenizer.ggml.bos_token_id": { u32: 1 },
    "tokenizer.ggml.eos_token_id": { u32: 2 },
    "tokenizer.ggml.unknown_token_id": { u32: 0 },
    ...more,
  } satisfies Record<string, Metadata>;
}

const PIECES = {
  "\u2581a": -1,
  "bc": -2,
  "\u2581abc": -3,
  "\u2581": -4,
  "a": -5,
  "b": -6,
  "c": -7,
};

Deno.test("a SentencePiece vocabulary joins the best pieces, and spells the rest in bytes", () => {
  const tokenizer = tokenizerOf(pieces(PIECES));
  assertEquals([...tokenizer.encode("abc")], [1, 261]);
  assertEquals([...tokenizer.encode("ab", { addSpecialTokens: false })], [259, 264]);
  assertEquals([...tokenizer.encode("é", { addSpecialTokens: false })], [262, 3 + 0xc3, 3 + 0xa9]);
  assertEquals(tokenizer.decode([261, 3 + 0xc3, 3 + 0xa9]), "abcé");
  assertEquals([tokenizer.bosToken, tokenizer.eosToken, tokenizer.eosTokenIds], ["<s>", "</s>", [
    2,
  ]]);
});

Deno.test("control tokens steer, those that users defined are text, and the file's flags hold", () => {
  const given = pieces(PIECES, {
    "tokenizer.ggml.add_bos_token": false,
    "tokenizer.ggml.add_eos_token": true,
    "tokenizer.ggml.add_space_prefix": false,
  });
  const tokenizer = tokenizerOf(given);
  const [turn, tool] = [266, 267];
  assertEquals([...tokenizer.encode("a<turn>b<tool>")], [263, turn, 264, tool, 2]);
  assertEquals(tokenizer.controlTokens, ["<unk>", "<s>", "</s>", "<turn>"]);
  assert(tokenizer.isSpecial(turn) && !tokenizer.isSpecial(tool));
  assertEquals(tokenizer.dropsLeadingSpace, false);
});

Deno.test("merges are all cuts of a piece, best score first, and never cut a character", () => {
  const scored = new Map([["a", -1], ["aa", -3], ["aaa", -2], ["\u{1f999}", -4], ["a\u{1f999}", -5]]
    .map(([piece, score], id) => [piece as string, { id, score: score as number }]));
  assertEquals(pieceMerges(scored), [["a", "aa"], ["aa", "a"], ["a", "a"], ["a", "\u{1f999}"]]);
});

Deno.test("a byte-level vocabulary has its merges, its template and its special tokens", () => {
  const { json, config } = filesOf(smallVocabulary());
  assertEquals(config, {
    bos_token: "<s>",
    eos_token: "<|im_end|>",
    chat_template: "{{ messages[0].content }}",
  });
  assertEquals((json["added_tokens"] as unknown[]).length, 2);
  const tokenizer = tokenizerOf(smallVocabulary());
  assertEquals([...tokenizer.encode("ab<|im_end|>a")], [257, 256, 258, 97]);
});

Deno.test("vocabularies that do not fit together are refused", () => {
  const small = smallVocabulary();
  const without = (key: string) =>
    refusal(Object.fromEntries(Object.entries(small).filter(([name]) => name !== key)));
  assertEquals(without("tokenizer.ggml.merges"), "metadata lacks tokenizer.ggml.merges");
  assertEquals(
    without("tokenizer.ggml.pre"),
    "metadata lacks tokenizer.ggml.pre, without which texts would be split wrongly: convert the " +
      "model again with a newer converter",
  );
  assertEquals(
    without("tokenizer.ggml.tokens"),
    "metadata lacks tokenizer.ggml.tokens: the file has no tokenizer",
  );
  const pre = refusal({ ...small, "tokenizer.ggml.pre": "default" });
  assert(pre.startsWith('tokenizer.ggml.pre is "default": known are gpt-2, '), pre);
  assertEquals(
    refusal({ ...small, "tokenizer.ggml.model": "bert" }),
    'tokenizer.ggml.model is "bert": known are gpt2 and llama',
  );
  assertEquals(
    refusal({ ...small, "tokenizer.ggml.token_type": { i32s: [1, 1] } }),
    "tokenizer.ggml.token_type has 2 elements for 259 tokens: must be as many",
  );
  assertEquals(
    refusal({ ...small, "tokenizer.ggml.merges": { strings: ["ab"] } }),
    'tokenizer.ggml.merges has "ab": must be two tokens',
  );
  const twice = { strings: ["a", "b", "a"] };
  assertEquals(
    refusal({ ...small, "tokenizer.ggml.tokens": twice }),
    'tokenizer.ggml.tokens has "a" twice, as 0 and 2',
  );
  const { "tokenizer.ggml.scores": _, ...unscored } = pieces(PIECES);
  assertEquals(refusal(unscored), "metadata lacks tokenizer.ggml.scores");
});

/** Texts and ids of a golden set. */
function goldenSet(input: string): [texts: string[], ids: number[][]] {
  const texts = Deno.readTextFileSync(input).split("\n__ggml_vocab_test__\n");
  const lines = Deno.readTextFileSync(input.replace(/inp$/, "out")).split("\n");
  return [texts, lines.map((line) => line.trim().split(/\s+/).filter(Boolean).map(Number))];
}

/** Published vocabularies, the pre-tokenizers that converters name, and golden ids. */
const PUBLISHED = [
  ["llama-3.2", "llama-bpe", "llama-bpe"],
  ["qwen3", "qwen2", "qwen2"],
  ["qwen3", "deepseek-r1-qwen", "qwen2"],
  ["gpt2", "gpt-2", "gpt-2"],
] as const;

for (const [name, pre, golden] of PUBLISHED) {
  testWithData(
    `the metadata of a published vocabulary gives its golden ids: ${name} as ${pre}`,
    [`tokenizers/${name}`, `tokenization-golden/${golden}.inp`],
    (dir, input) => {
      const json = JSON.parse(Deno.readTextFileSync(`${dir}/tokenizer.json`));
      const tokenizer = tokenizerOf(byteLevelVocabulary(json, pre));
      const [texts, ids] = goldenSet(input!);
      assertEquals(texts.length, 47);
      for (const [i, text] of texts.entries()) {
        const actual = tokenizer.encode(text, { addSpecialTokens: false });
        assertEquals([...actual], ids[i], JSON.stringify(text));
      }
    },
  );
}

testWithData(
  "DeepSeek's published vocabulary encodes the golden texts as its own tokenizer.json does",
  ["tokenizers/deepseek-r1", "tokenization-golden/llama-bpe.inp"],
  (dir, input) => {
    const json = JSON.parse(Deno.readTextFileSync(`${dir}/tokenizer.json`));
    const [tokenizer, own] = [
      tokenizerOf(byteLevelVocabulary(json, "deepseek-v3")),
      loadTokenizer(dir!),
    ];
    for (const text of goldenSet(input!)[0]) {
      const options = { addSpecialTokens: false };
      assertEquals(tokenizer.encode(text, options), own.encode(text, options), text);
    }
  },
);

testWithData(
  "the scores of Llama's pieces give the merges of its published tokenizer.json",
  ["gguf-vocab/ggml-vocab-llama-spm.gguf", "tokenizers/tinyllama-1.1b"],
  (path, dir) => {
    const gguf = openGguf(path!);
    gguf.close();
    const made = tokenizerJson(gguf.metadata) as {
      readonly model: { readonly merges: readonly (readonly string[])[] };
      readonly added_tokens: readonly unknown[];
    };
    const published = JSON.parse(Deno.readTextFileSync(`${dir}/tokenizer.json`));
    const merges = made.model.merges.map((merge) => merge.join(" "));
    assertEquals(merges.toSorted(), published.model.merges.toSorted());
    // Runs of spaces all have one score, and so no order.
    const hasText = (merge: string) => /[^\u2581 ]/.test(merge);
    assertEquals(merges.filter(hasText), published.model.merges.filter(hasText));
    assertEquals(made.added_tokens, published.added_tokens);
  },
);

testWithData(
  "Phi-3's added tokens strip white space as those of its published tokenizer.json do",
  ["gguf-vocab/ggml-vocab-phi-3.gguf", "tokenizers/phi-3-mini"],
  (path, dir) => {
    const gguf = openGguf(path!);
    gguf.close();
    const published = JSON.parse(Deno.readTextFileSync(`${dir}/tokenizer.json`));
    assertEquals(tokenizerJson(gguf.metadata)["added_tokens"], published.added_tokens);
  },
);
