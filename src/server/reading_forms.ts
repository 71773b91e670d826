import { z } from "zod";
import { lacksLmHead } from "../../models/config_fields.ts";
import { SCORE_TENSOR } from "../../models/layers.ts";
import { loadPoolingConfig } from "../../models/pooling_config.ts";
import { readModel } from "../../models/registry.ts";
import type { Config } from "../core/config.ts";
import { StartupError } from "../core/errors.ts";
import { modelFile, type ModelFiles, parseModelJson, readModelJson } from "../core/model_json.ts";
import type { RerankForm, ServedModel } from "../http/services.ts";
import type { TextService } from "../tokenizer/text_service.ts";
import { decodeToF32 } from "../weights/dtypes.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";

type Settings = Pick<Config, "pooling" | "rerankTokens">;

/** Two words, no before yes, as vLLM's converted configurations have them. */
const ConfigJson = z.object({
  architectures: z.array(z.string()).nullish().catch(undefined),
  classifier_from_token: z.tuple([z.string(), z.string()]).nullish(),
});

/**
 * How a model embeds texts and ranks documents: by the flags, or else by its own configuration.
 *
 * @throws {StartupError} for words of a ranking that are not one token each, and for files of the
 * model that say what they may not.
 */
export async function readingForms(
  { pooling, rerankTokens }: Settings,
  { files, weights }: { readonly files: ModelFiles; readonly weights: () => Checkpoint },
  text: TextService,
): Promise<Pick<ServedModel, "embedding" | "rerank" | "lacksLmHead">> {
  const own = loadPoolingConfig(files);
  const pooled = pooling === "auto"
    ? own
    : { pooling, isNormalized: "unsupported" in own || own.isNormalized };
  const { hiddenSize: size } = readModel(files);
  const file = modelFile(files, "config.json");
  const config = parseModelJson(ConfigJson, readModelJson(files, "config.json") ?? {}, file);
  const words = rerankTokens?.split(",") ?? config.classifier_from_token;
  const from = rerankTokens === undefined ? file : "--rerank-tokens";
  const isClassifier = config.architectures?.[0]?.endsWith("ForSequenceClassification") ?? false;
  const rerank = words !== undefined && words !== null
    ? await rerankForm({ from, words }, text)
    : isClassifier
    ? readScore(weights(), size)
    : undefined;
  return {
    embedding: "unsupported" in pooled ? pooled : { ...pooled, size },
    ...(rerank === undefined ? {} : { rerank }),
    ...(lacksLmHead(config.architectures) ? { lacksLmHead: true } : {}),
  };
}

/** The head of a classifier of one label; undefined for one of several, which ranks nothing. */
function readScore(weights: Checkpoint, size: number): RerankForm | undefined {
  try {
    const { dtype, shape: [numLabels, width], bytes } = weights.tensor(SCORE_TENSOR);
    if (numLabels !== 1 || width !== size) return undefined;
    const data = new Uint8Array(bytes);
    weights.readRange(SCORE_TENSOR, 0, data);
    const score = new Float32Array(size);
    decodeToF32(dtype, data, score);
    return { score };
  } finally {
    weights.close();
  }
}

/** Words by which a model answers, and where that is said. */
interface AnswerWords {
  readonly from: string;
  readonly words: readonly string[];
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
