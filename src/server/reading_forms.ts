import { z } from "zod";
import { loadPoolingConfig } from "../../models/pooling_config.ts";
import { readModel } from "../../models/registry.ts";
import type { Config } from "../core/config.ts";
import { StartupError } from "../core/errors.ts";
import { modelFile, type ModelFiles, parseModelJson, readModelJson } from "../core/model_json.ts";
import type { RerankForm, ServedModel } from "../http/services.ts";
import type { TextService } from "../tokenizer/text_service.ts";

type Settings = Pick<Config, "pooling" | "rerankTokens">;

/** Two words, no before yes, as vLLM's converted configurations have them. */
const ConfigJson = z.object({ classifier_from_token: z.tuple([z.string(), z.string()]).nullish() });

/**
 * How a model embeds texts and ranks documents: by the flags, or else by its own configuration.
 *
 * @throws {StartupError} for words of a ranking that are not one token each, and for files of the
 * model that say what they may not.
 */
export async function readingForms(
  { pooling, rerankTokens }: Settings,
  files: ModelFiles,
  text: TextService,
): Promise<Pick<ServedModel, "embedding" | "rerank">> {
  const own = loadPoolingConfig(files);
  const asked = pooling === "auto"
    ? own
    : { pooling, isNormalized: "unsupported" in own || own.isNormalized };
  const { hiddenSize: size } = readModel(files);
  const words = rerankTokens === undefined
    ? ownWords(files)
    : { from: "--rerank-tokens", words: rerankTokens.split(",") };
  return {
    embedding: "unsupported" in asked ? asked : { ...asked, size },
    ...(words === undefined ? {} : { rerank: await rerankForm(words, text) }),
  };
}

/** Words by which a model answers, and where that is said. */
interface AnswerWords {
  readonly from: string;
  readonly words: readonly string[];
}

function ownWords(files: ModelFiles): AnswerWords | undefined {
  const file = modelFile(files, "config.json");
  const { classifier_from_token: words } = parseModelJson(
    ConfigJson,
    readModelJson(files, "config.json") ?? {},
    file,
  );
  return words === undefined || words === null ? undefined : { from: file, words };
}

async function rerankForm({ from, words }: AnswerWords, text: TextService): Promise<RerankForm> {
  if (words.length !== 2) {
    throw new StartupError(`${from} must name two words, such as no,yes, got ${words.join(",")}`);
  }
  const encoded = await text.encode(words, { addSpecialTokens: false });
  const [no, yes] = encoded.map((ids, i) => {
    if (ids.length === 1) return ids[0]!;
    const word = JSON.stringify(words[i]);
    throw new StartupError(
      `${from} must name words of one token: the model has ${ids.length} for ${word}`,
    );
  });
  if (no === yes) throw new StartupError(`${from} must name two words that differ`);
  return { no: no!, yes: yes! };
}
