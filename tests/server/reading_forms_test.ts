import { assertEquals, assertRejects } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import type { ModelFiles, ModelTexts } from "../../src/core/model_json.ts";
import { readingForms } from "../../src/server/reading_forms.ts";
import { loadTextService } from "../../src/tokenizer/text_service.ts";
import { openSafetensors } from "../../src/weights/safetensors.ts";
import { safetensorsFile, withModelDir } from "../weights/checkpoint_files.ts";
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

function forms(
  settings: Parameters<typeof readingForms>[0],
  files: ModelFiles,
  weights = () => openSafetensors(DEMO_DIR),
) {
  return readingForms(settings, { files, weights }, text);
}

const AUTO = { pooling: "auto", rerankTokens: undefined } as const;
const SIZE = JSON.parse(Deno.readTextFileSync(`${DEMO_DIR}/config.json`)).hidden_size;

Deno.test("readingForms() goes by the model, and by flags before it", async () => {
  assertEquals(await forms(AUTO, DEMO_DIR), {
    embedding: { pooling: "last", isNormalized: true, size: SIZE },
  });
  const modules = JSON.stringify([{ type: "x.Pooling", path: "1_Pooling" }]);
  const max = filesWith({}, {
    "modules.json": modules,
    "1_Pooling/config.json": JSON.stringify({ pooling_mode_max_tokens: true }),
  });
  assertEquals(await forms(AUTO, max), {
    embedding: { unsupported: "the model pools by pooling_mode_max_tokens" },
  });
  assertEquals(await forms({ ...AUTO, pooling: "mean" }, max), {
    embedding: { pooling: "mean", isNormalized: true, size: SIZE },
  });
});

Deno.test("readingForms() finds the words of a ranking, each of one token", async () => {
  const idOf = async (word: string) =>
    (await text.encode([word], { addSpecialTokens: false }))[0]![0]!;
  const [a, b] = [await idOf("a"), await idOf("b")];
  const byFlag = await forms({ ...AUTO, rerankTokens: "a,b" }, DEMO_DIR);
  assertEquals(byFlag.rerank, { no: a, yes: b });
  const own = filesWith({ classifier_from_token: ["b", "a"] });
  assertEquals((await forms(AUTO, own)).rerank, { no: b, yes: a });
  const wrong: [string, string][] = [
    ["a,supercalifragilistic", "must name words of one token"],
    ["a,a", "must name two words that differ"],
    ["a,b,c", "must name two words, such as no,yes"],
  ];
  for (const [rerankTokens, message] of wrong) {
    await assertRejects(
      () => forms({ ...AUTO, rerankTokens }, DEMO_DIR),
      StartupError,
      message,
    );
  }
});

Deno.test("readingForms() takes a classifier's head of one label, and says that nothing is generated", async () => {
  const files = filesWith({ architectures: ["LlamaForSequenceClassification"] });
  const score = Float32Array.from({ length: SIZE }, (_, e) => e / 7);
  const headOf = (numLabels: number) => {
    const bytes = new Uint8Array(4 * SIZE * numLabels);
    bytes.set(new Uint8Array(score.buffer));
    const tensor = { dtype: "F32", shape: [numLabels, SIZE], bytes };
    return { "model.safetensors": safetensorsFile({ "score.weight": tensor }) };
  };
  const found: Promise<unknown>[] = [];
  for (const numLabels of [1, 2]) {
    withModelDir(headOf(numLabels), (dir) => {
      found.push(forms(AUTO, files, () => openSafetensors(dir)));
    });
  }
  const embedding = { pooling: "last", isNormalized: true, size: SIZE } as const;
  assertEquals(await found[0], { embedding, rerank: { score }, lacksLmHead: true });
  assertEquals(await found[1], { embedding, lacksLmHead: true });
  // Nothing is opened for others, which only embed.
  const embeds = filesWith({ architectures: ["LlamaModel"] });
  const weights = () => {
    throw new Error("opened");
  };
  assertEquals(await forms(AUTO, embeds, weights), { embedding, lacksLmHead: true });
});
