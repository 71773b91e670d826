import { assertEquals } from "@std/assert";
import { loadTokenizer } from "../../../src/tokenizer/tokenizer.ts";
import { openGguf } from "../../../src/weights/gguf/gguf_file.ts";
import { tokenizerConfigJson, tokenizerJson } from "../../../src/weights/gguf/tokenizer_json.ts";
import { testWithData } from "../../tokenizer/shared_data.ts";

/** The tokenizer of a GGUF file that has a vocabulary and no weights. */
function ggufTokenizer(path: string) {
  const { metadata, close } = openGguf(path);
  close();
  const texts = {
    "tokenizer.json": JSON.stringify(tokenizerJson(metadata)),
    "tokenizer_config.json": JSON.stringify(tokenizerConfigJson(metadata)),
  };
  return { tokenizer: loadTokenizer({ path, texts }), texts };
}

for (const name of ["gpt-2", "llama-spm", "phi-3"]) {
  testWithData(
    `a GGUF vocabulary gives the golden ids of all 47 texts: ${name}`,
    [`gguf-vocab/ggml-vocab-${name}.gguf`, `tokenization-golden/${name}.inp`],
    (path, input) => {
      const { tokenizer } = ggufTokenizer(path!);
      const texts = Deno.readTextFileSync(input!).split("\n__ggml_vocab_test__\n");
      const lines = Deno.readTextFileSync(input!.replace(/inp$/, "out")).split("\n");
      const ids = lines.map((line) =>
        line.trim().split(/\s+/).filter((id) => id !== "").map(Number)
      );
      assertEquals([texts.length, ids.length], [47, 47]);
      for (const [i, text] of texts.entries()) {
        const actual = [...tokenizer.encode(text, { addSpecialTokens: false })];
        assertEquals(actual, ids[i], JSON.stringify(text));
        assertEquals(tokenizer.decode(actual), text, JSON.stringify(text));
      }
    },
  );
}
