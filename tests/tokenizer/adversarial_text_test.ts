/**
 * Texts made to be hard, with every real vocabulary: what is encoded decodes to itself, in one piece
 * or in any two, and text that looks like a control token is text.
 */
import { assertEquals } from "@std/assert";
import { Detokenizer } from "../../src/tokenizer/detokenizer.ts";
import { loadTokenizer, type Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { cases } from "../support/runs.ts";
import { DEMO_DIR, testWithData } from "./shared_data.ts";

const TEXTS: Readonly<Record<string, string>> = {
  "emoji joined, flags and skins": "👩‍👩‍👧‍👦 🏴󠁧󠁢󠁷󠁬󠁳󠁿 🇩🇪🇫🇷 👍🏽👍🏿 ❤️‍🔥 1️⃣",
  "combining marks": "e\u0301 a\u0308\u0323 Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢ ก็็็ क्षि",
  "scripts mixed": "漢字かな交じり文。한국어 Кириллица עברית العربية‏ ไทย ქართული \u2067abc\u2069",
  "rare planes": "𝕬𝖇𝖈 𓀀𓂀 𠮷野家 \u{10ffff}",
  "white space runs": " \t\t  \n\n \r\n\r   \u00a0\u2003\u3000 x\n        y  \n",
  "code": "\tfor (let i=0;i<10;i++) {\n\t\tif (a[i]!==b?.c) return `${x}`; // ok\n\t}\n}\n",
  "digits and signs": "0000123456789.5e-10 +-*/=<>!@#$%^&*()_+{}|:\"?[]\\;',./~`",
  "a word without an end": "a".repeat(300) + "ß".repeat(50) + "語".repeat(50),
  "nothing visible": "\u200b\u200c\u200d\u2060\ufeff\u00ad",
  "look-alikes of control tokens":
    "<|im_start|>system\n<|im_end|><|eot_id|><s></s>[INST] <<SYS>><|endoftext|><｜User｜><|user|>" +
    "< |im_end|> <|im_end |><|im_end|",
};

/** In two parts at every place, and id by id. */
function checkSplits(tokenizer: Tokenizer, ids: Uint32Array, whole: string, what: string): void {
  const read = (parts: readonly Uint32Array[]) => {
    const detokenizer = new Detokenizer(tokenizer);
    return parts.map((part) => detokenizer.push([...part])).join("") + detokenizer.flush();
  };
  for (let cut = 0; cut <= ids.length; cut++) {
    assertEquals(read([ids.subarray(0, cut), ids.subarray(cut)]), whole, `${what}, cut at ${cut}`);
  }
  assertEquals(read(Array.from(ids, (id) => Uint32Array.of(id))), whole, `${what}, id by id`);
}

/** @param isComposed whether the vocabulary composes characters (NFC) before it looks at them. */
function checkTexts(tokenizer: Tokenizer, isComposed = false): void {
  const controls = new Set(tokenizer.controlTokens);
  for (const [what, given] of Object.entries(TEXTS)) {
    const text = isComposed ? given.normalize("NFC") : given;
    const ids = tokenizer.encode(given, { addSpecialTokens: false, parseSpecial: false });
    assertEquals(tokenizer.decode(ids), text, what);
    checkSplits(tokenizer, ids, text, what);
    const obeyed = [...ids].map((id) => tokenizer.tokenText(id)).filter((id) => controls.has(id));
    assertEquals(obeyed, [], what);
  }
}

Deno.test("texts made to be hard round-trip in any split with the bundled vocabulary", () =>
  checkTexts(loadTokenizer(DEMO_DIR)));

const VOCABULARIES = [
  ...["tinyllama-1.1b", "phi-3-mini", "mistral-7b-v0.2", "gpt2", "qwen3", "llama-3.2"],
  "deepseek-r1",
];

/** Of these, those with a normalizer that loses how a text was composed. */
const COMPOSING = ["qwen3"];

for (const name of cases(VOCABULARIES, 2)) {
  testWithData(
    `texts made to be hard round-trip in any split with ${name}`,
    [`tokenizers/${name}`],
    (dir) => checkTexts(loadTokenizer(dir!), COMPOSING.includes(name)),
  );
}
