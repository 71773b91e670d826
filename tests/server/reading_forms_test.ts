import { assertEquals, assertRejects } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import type { ModelTexts } from "../../src/core/model_json.ts";
import { readingForms } from "../../src/server/reading_forms.ts";
import { loadTextService } from "../../src/tokenizer/text_service.ts";
import { DEMO_DIR } from "../support/demo_engine.ts";

const text = await loadTextService(DEMO_DIR);
text.close();

/** The bundled model's configuration with more fields, and more files. */
function filesWith(fields: object, texts: Record<string, string> = {}): ModelTexts {
  const config = JSON.parse(Deno.readTextFileSync(`${DEMO_DIR}/config.json`));
  return {
    path: "model",
    texts: { "config.json": JSON.stringify({ ...config, ...fields }), ...texts },
  };
}

const AUTO = { pooling: "auto", rerankTokens: undefined } as const;
const SIZE = JSON.parse(Deno.readTextFileSync(`${DEMO_DIR}/config.json`)).hidden_size;

Deno.test("readingForms() goes by the model, and by flags before it", async () => {
  assertEquals(await readingForms(AUTO, DEMO_DIR, text), {
    embedding: { pooling: "last", isNormalized: true, size: SIZE },
  });
  const modules = JSON.stringify([{ type: "x.Pooling", path: "1_Pooling" }]);
  const max = filesWith({}, {
    "modules.json": modules,
    "1_Pooling/config.json": JSON.stringify({ pooling_mode_max_tokens: true }),
  });
  assertEquals(await readingForms(AUTO, max, text), {
    embedding: { unsupported: "the model pools by pooling_mode_max_tokens" },
  });
  assertEquals(await readingForms({ ...AUTO, pooling: "mean" }, max, text), {
    embedding: { pooling: "mean", isNormalized: true, size: SIZE },
  });
});

Deno.test("readingForms() finds the words of a ranking, each of one token", async () => {
  const idOf = async (word: string) =>
    (await text.encode([word], { addSpecialTokens: false }))[0]![0]!;
  const [a, b] = [await idOf("a"), await idOf("b")];
  const byFlag = await readingForms({ ...AUTO, rerankTokens: "a,b" }, DEMO_DIR, text);
  assertEquals(byFlag.rerank, { no: a, yes: b });
  const own = filesWith({ classifier_from_token: ["b", "a"] });
  assertEquals((await readingForms(AUTO, own, text)).rerank, { no: b, yes: a });
  const wrong: [string, string][] = [
    ["a,supercalifragilistic", "must name words of one token"],
    ["a,a", "must name two words that differ"],
    ["a,b,c", "must name two words, such as no,yes"],
  ];
  for (const [rerankTokens, message] of wrong) {
    await assertRejects(
      () => readingForms({ ...AUTO, rerankTokens }, DEMO_DIR, text),
      StartupError,
      message,
    );
  }
});
