import { assertEquals } from "@std/assert";
import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import { loadTokenizer, type Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { testWithData } from "./shared_data.ts";
import { cases } from "../support/runs.ts";

/** 47 texts made to be hard: white space, digits, emoji, mixed scripts. */
function readTexts(path: string): string[] {
  return Deno.readTextFileSync(`${path}.inp`).split("\n__ggml_vocab_test__\n");
}

function readIds(path: string): number[][] {
  const lines = Deno.readTextFileSync(`${path}.out`).split("\n");
  return lines.map((line) => line.trim().split(/\s+/).filter((id) => id !== "").map(Number));
}

/** Whole decoding gives the text back, but for what the vocabulary's normalizer has changed. */
function checkRoundTrips(tokenizer: Tokenizer, texts: readonly string[]): void {
  for (const text of texts) {
    const ids = tokenizer.encode(text, { addSpecialTokens: false });
    assertEquals(tokenizer.decode(ids), text, JSON.stringify(text));
  }
}

/** Vocabularies, and sets of golden ids that were made with the same. */
const GOLDEN = [
  ["llama-3.2", "llama-bpe"],
  ["qwen3", "qwen2"],
  ["qwen3", "deepseek-r1-qwen"],
  ["gpt2", "gpt-2"],
  ["tinyllama-1.1b", "llama-spm"],
  ["phi-3-mini", "phi-3"],
] as const;

for (const [name, golden] of GOLDEN) {
  testWithData(
    `Tokenizer encodes all golden texts of ${golden} with ${name} and decodes them back`,
    [`tokenizers/${name}`, `tokenization-golden/${golden}.inp`],
    (dir, input) => {
      const tokenizer = loadTokenizer(dir!);
      const path = input!.slice(0, -".inp".length);
      const texts = readTexts(path);
      const ids = readIds(path);
      assertEquals([texts.length, ids.length], [47, 47]);
      for (const [i, text] of texts.entries()) {
        const actual = tokenizer.encode(text, { addSpecialTokens: false });
        assertEquals([...actual], ids[i], JSON.stringify(text));
      }
      checkRoundTrips(tokenizer, texts);
    },
  );
}

// The golden sets have no ids made with these two vocabularies; what can be checked is that
// encoding loses nothing and that our decoding agrees with the library's.
for (const name of cases(["mistral-7b-v0.2", "deepseek-r1"], 1)) {
  testWithData(
    `Tokenizer decodes with ${name} what it encoded, as the library does`,
    [`tokenizers/${name}`, "tokenization-golden/llama-bpe.inp"],
    (dir, input) => {
      const tokenizer = loadTokenizer(dir!);
      const texts = readTexts(input!.slice(0, -".inp".length));
      checkRoundTrips(tokenizer, texts);
      const read = (file: string) => JSON.parse(Deno.readTextFileSync(`${dir}/${file}`));
      const library = new LibraryTokenizer(read("tokenizer.json"), read("tokenizer_config.json"));
      for (const text of texts.filter((text) => text !== "")) {
        const ids = [...tokenizer.encode(text)];
        const options = { skip_special_tokens: true };
        assertEquals(
          tokenizer.decode(ids, { skipSpecialTokens: true }),
          library.decode(ids, options),
        );
      }
    },
  );
}
