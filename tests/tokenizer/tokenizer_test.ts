import { assert, assertEquals, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { loadTokenizer } from "../../src/tokenizer/tokenizer.ts";
import { withModelDir } from "../weights/checkpoint_files.ts";
import { GOLDEN_PROMPTS } from "./golden.ts";
import { DEMO_DIR, testWithData } from "./shared_data.ts";

const demo = loadTokenizer(DEMO_DIR);

Deno.test("Tokenizer.encode() and decode() agree with the bundled model's golden prompts", () => {
  assert(GOLDEN_PROMPTS.length >= 20);
  for (const { id, prompt, prompt_ids } of GOLDEN_PROMPTS) {
    assertEquals([...demo.encode(prompt)], prompt_ids, id);
    assertEquals(demo.decode(prompt_ids), prompt, id);
  }
});

Deno.test("Tokenizer.decode() gives the golden continuations", () => {
  for (const { id, greedy_ids, greedy_text } of GOLDEN_PROMPTS) {
    assertEquals(demo.decode(greedy_ids), greedy_text, id);
  }
});

Deno.test("Tokenizer knows the bundled vocabulary's shape and end tokens", () => {
  assertEquals(demo.vocabSize, 2048);
  assertEquals(demo.eosTokenIds, [2, 0]);
  assertEquals([demo.bosToken, demo.eosToken], ["<|endoftext|>", "<|im_end|>"]);
  const longest = Math.max(...Array.from({ length: 2048 }, (_, id) => demo.tokenText(id).length));
  assertEquals(demo.maxCharsPerToken, longest);
});

Deno.test("Tokenizer.decode() leaves special tokens out when told to", () => {
  assertEquals(demo.decode([1, 721, 2]), "<|im_start|>Once<|im_end|>");
  assertEquals(demo.decode([1, 721, 2], { skipSpecialTokens: true }), "Once");
  assertEquals([demo.isSpecial(2), demo.isSpecial(721), demo.isSpecial(9999)], [
    true,
    false,
    false,
  ]);
});

Deno.test("Tokenizer.tokenText() and tokenBytes() are empty outside the vocabulary", () => {
  assertEquals(demo.tokenText(2048), "");
  assertEquals(demo.tokenBytes(1e9).byteLength, 0);
  assertEquals(demo.decode([2048, 721, -1]), "Once");
});

Deno.test("Tokenizer.tokenBytes() joined is the UTF-8 of any text", () => {
  for (const text of ["grüße 🦙", "\0\x7f\u00ad\u0100", "\ufeffx", "a\r\n\tb   c", "日本語"]) {
    const bytes = Array.from(demo.encode(text)).flatMap((id) => [...demo.tokenBytes(id)]);
    assertEquals(Uint8Array.from(bytes), new TextEncoder().encode(text));
    assertEquals(demo.decode(demo.encode(text)), text);
  }
});

/** A byte-level vocabulary of the letters a and b and one special token. */
function tinyJson(changes: Record<string, unknown> = {}) {
  return {
    added_tokens: [{ id: 2, content: "<s>", special: true }],
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true },
    post_processor: { type: "ByteLevel" },
    decoder: { type: "ByteLevel" },
    model: { type: "BPE", vocab: { a: 0, b: 1 }, merges: [] },
    ...changes,
  };
}

function withTokenizer(
  json: unknown,
  config: unknown,
  body: (tokenizer: ReturnType<typeof loadTokenizer>) => void,
): void {
  const files = {
    "tokenizer.json": JSON.stringify(json),
    "tokenizer_config.json": JSON.stringify(config),
  };
  withModelDir(files, (dir) => body(loadTokenizer(dir)));
}

Deno.test("Tokenizer.encode() adds the start token that only add_bos_token asks for", () => {
  withTokenizer(tinyJson(), { add_bos_token: true, bos_token: "<s>" }, (tokenizer) => {
    assertEquals([...tokenizer.encode("ab")], [2, 0, 1]);
    assertEquals([...tokenizer.encode("ab", { addSpecialTokens: false })], [0, 1]);
  });
  const template = {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<s>" } }, { Sequence: { id: "A" } }],
  };
  for (const add_bos_token of [true, false]) {
    const json = tinyJson({ post_processor: template });
    withTokenizer(json, { add_bos_token, bos_token: "<s>" }, (tokenizer) => {
      assertEquals([...tokenizer.encode("ab")], [2, 0, 1]);
    });
  }
});

function refuses(json: unknown, part: string): void {
  withModelDir({ "tokenizer.json": JSON.stringify(json) }, (dir) => {
    assertThrows(() => loadTokenizer(dir), StartupError, part);
  });
}

Deno.test("loadTokenizer() names the file that it cannot use", () => {
  withModelDir({}, (dir) => {
    assertThrows(() => loadTokenizer(dir), StartupError, `${dir}/tokenizer.json is missing`);
  });
  refuses(tinyJson({ normalizer: { type: "Nonsense" } }), "Cannot use ");
  refuses(tinyJson({ decoder: { type: "WordPiece" } }), 'step {"type":"WordPiece"} is not known');
  const single = [{ SpecialToken: { id: "<gone>" } }, { Sequence: { id: "A" } }];
  refuses(
    tinyJson({ post_processor: { type: "TemplateProcessing", single } }),
    'the token "<gone>" has no id',
  );
});

testWithData(
  "Tokenizer adds what Llama 3.2's and TinyLlama's files say around a text",
  ["tokenizers/llama-3.2", "tokenizers/tinyllama-1.1b"],
  (llama, tiny) => {
    assertEquals([...loadTokenizer(llama!).encode("Hello")], [128000, 9906]);
    const tinyLlama = loadTokenizer(tiny!);
    assertEquals([...tinyLlama.encode("Hello")], [1, 15043]);
    assertEquals(tinyLlama.decode([1, 15043]), "<s> Hello");
    assertEquals(tinyLlama.decode([1, 15043], { skipSpecialTokens: true }), "Hello");
    assertEquals(tinyLlama.decode([15043], { continuesText: true }), " Hello");
    assertEquals(tinyLlama.tokenBytes(3 + 0xf0), Uint8Array.of(0xf0));
  },
);
