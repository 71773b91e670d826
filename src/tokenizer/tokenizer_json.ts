import { StartupError } from "../core/errors.ts";
import { modelFile, type ModelFiles, readModelJson } from "../core/model_json.ts";
import { checkRules } from "./tokenizer_rules.ts";

/** The largest vocabularies have files of some 35 MB. */
const MAX_FILE_BYTES = 128 * 1024 * 1024;

/** Highest number of ids; several times what any published vocabulary has. */
const MAX_VOCAB = 1 << 20;

/** The parts of a tokenizer.json that are checked before the library sees it. */
export interface TokenizerJson {
  readonly model: { readonly vocab: Record<string, number> | readonly unknown[] };
  readonly added_tokens: readonly { readonly id: number; readonly content: string }[];
  readonly decoder: unknown;
}

/**
 * Reads a model's `tokenizer.json` and checks that ids are in bounds, tokens are text and rules are
 * whole: the library checks none of it, and would fill an array of billions of elements for an id
 * of that size.
 *
 * @throws {StartupError} naming the file and what is wrong.
 */
export function loadTokenizerJson(files: ModelFiles): TokenizerJson {
  const file = modelFile(files, "tokenizer.json");
  const json = readModelJson(files, "tokenizer.json", MAX_FILE_BYTES);
  if (json === undefined) throw new StartupError(`${file} is missing`);
  if (!isObject(json)) throw new StartupError(`${file} is not a JSON object`);
  checkVocab(isObject(json["model"]) ? json["model"]["vocab"] : undefined, file);
  const added = json["added_tokens"] ?? [];
  if (!Array.isArray(added)) throw new StartupError(`${file}: "added_tokens" must be an array`);
  added.forEach((token, i) => checkAddedToken(token, `${file}: field "added_tokens.${i}"`));
  checkRules(json, file);
  return { ...json, model: typed(json["model"]), added_tokens: added } as unknown as TokenizerJson;
}

/** The oldest files leave out what kind their model is, and only one kind merges. */
function typed(model: unknown): unknown {
  if (!isObject(model) || (model["type"] ?? undefined) !== undefined) return model;
  return Array.isArray(model["merges"]) ? { ...model, type: "BPE" } : model;
}

function checkVocab(vocab: unknown, file: string): void {
  if (Array.isArray(vocab)) {
    checkPieces(vocab, file);
    return;
  }
  if (!isObject(vocab)) {
    throw new StartupError(`${file}: "model.vocab" must be an object or an array`);
  }
  for (const token of Object.keys(vocab)) {
    const id = vocab[token];
    if (!isId(id)) {
      throw new StartupError(
        `${file}: token ${JSON.stringify(token)} has id ${JSON.stringify(id)}: must be an ` +
          `integer in [0, ${MAX_VOCAB})`,
      );
    }
  }
}

/** The vocabulary of a Unigram model: pieces and their log-probabilities, in the order of ids. */
function checkPieces(vocab: readonly unknown[], file: string): void {
  if (vocab.length > MAX_VOCAB) {
    throw new StartupError(
      `${file}: "model.vocab" has ${vocab.length} tokens: at most ${MAX_VOCAB}`,
    );
  }
  vocab.forEach((entry, id) => {
    const [piece, score] = Array.isArray(entry) ? entry : [];
    if (typeof piece === "string" && typeof score === "number") return;
    const shown = JSON.stringify(entry).slice(0, 80);
    throw new StartupError(
      `${file}: field "model.vocab.${id}" is ${shown}: must be a text and its log-probability`,
    );
  });
}

function checkAddedToken(token: unknown, where: string): void {
  if (!isObject(token) || typeof token["content"] !== "string" || token["content"] === "") {
    throw new StartupError(`${where} must have a text as "content"`);
  }
  if (!isId(token["id"])) {
    throw new StartupError(
      `${where} has id ${JSON.stringify(token["id"])}: must be an integer in [0, ${MAX_VOCAB})`,
    );
  }
}

function isId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < MAX_VOCAB;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
