import { assertEquals, assertThrows } from "@std/assert";
import { loadGenerationConfig } from "../../models/generation_config.ts";
import { loadPoolingConfig } from "../../models/pooling_config.ts";
import { readModel } from "../../models/registry.ts";
import { StartupError } from "../../src/core/errors.ts";
import { loadTokenizer } from "../../src/tokenizer/tokenizer.ts";
import type { Pooling } from "../../src/core/prompt_readout.ts";
import { findModelSource } from "../../src/weights/model_source.ts";
import { withModelDir } from "./checkpoint_files.ts";
import { smallGguf } from "./gguf/small_gguf.ts";

/** What a path is found to be, or why it is refused. */
function sourceIn(files: Record<string, Uint8Array | string>, name = ""): string {
  let found = "";
  withModelDir(files, (dir) => {
    try {
      found = findModelSource(`${dir}${name}`).path.replace(dir, "");
    } catch (error) {
      if (!(error instanceof StartupError)) throw error;
      found = error.message.replace(dir, "");
    }
  });
  return found;
}

Deno.test("a directory is itself where it has a config.json, or no GGUF file", () => {
  assertEquals(sourceIn({ "config.json": "{}", "a.gguf": "" }), "");
  assertEquals(sourceIn({}), "");
  assertEquals(sourceIn({ "README.md": "" }, "/missing"), "/missing");
});

Deno.test("a directory with one GGUF file alone is that file, and several are named", () => {
  assertEquals(sourceIn({ "model.gguf": "", "README.md": "" }), "/model.gguf");
  assertEquals(
    sourceIn({ "m-00001-of-00002.gguf": "", "m-00002-of-00002.gguf": "" }),
    "/m-00001-of-00002.gguf",
  );
  assertEquals(
    sourceIn({ "m-Q8_0.gguf": "", "m-F16.gguf": "" }),
    " has 2 GGUF files: name one of m-F16.gguf, m-Q8_0.gguf",
  );
  assertEquals(sourceIn({ "m-Q8_0.gguf": "", "m-F16.gguf": "" }, "/m-F16.gguf"), "/m-F16.gguf");
});

Deno.test("a GGUF file has config, sampling defaults, tokenizer and weights", () => {
  withModelDir({ "small.gguf": smallGguf({ "general.sampling.top_k": { u32: 5 } }) }, (dir) => {
    const source = findModelSource(`${dir}/small.gguf`);
    assertEquals(readModel(source.configFiles()).attention[0]!.headDim, 16);
    const files = source.textFiles();
    assertEquals(readModel(files).vocabSize, 259);
    assertEquals(loadGenerationConfig(files), { eosTokenIds: [258], topK: 5 });
    const tokenizer = loadTokenizer(files);
    assertEquals([tokenizer.vocabSize, tokenizer.eosTokenIds], [259, [258]]);
    const weights = source.openCheckpoint();
    assertEquals(weights.tensor("model.embed_tokens.weight").shape, [259, 32]);
    weights.close();
    // Without the tokenizer's files a tokenizer is refused by the file's name.
    const error = assertThrows(() => loadTokenizer(source.configFiles()), StartupError);
    assertEquals(
      error.message.replace(dir, ""),
      "/small.gguf (as tokenizer.json) is missing",
    );
  });
});

Deno.test("a GGUF file says how its model embeds, or nothing", () => {
  const ways: [number | undefined, Pooling][] = [
    [1, "mean"],
    [2, "cls"],
    [3, "last"],
    [0, "last"],
    [undefined, "last"],
  ];
  for (const [type, pooling] of ways) {
    const metadata = type === undefined ? {} : { "llama.pooling_type": { u32: type } };
    withModelDir({ "small.gguf": smallGguf(metadata) }, (dir) => {
      const files = findModelSource(`${dir}/small.gguf`).configFiles();
      assertEquals(loadPoolingConfig(files), { pooling, isNormalized: true });
    });
  }
});
