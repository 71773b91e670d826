import { StartupError } from "../core/errors.ts";
import { modelFile, type ModelFiles } from "../core/model_json.ts";
import { configJson, generationConfigJson } from "./gguf/config_json.ts";
import { type GgufFile, isGgufPath, isLaterPart, openGguf } from "./gguf/gguf_file.ts";
import { openGgufCheckpoint } from "./gguf/gguf_checkpoint.ts";
import { poolingTexts } from "./gguf/pooling_json.ts";
import { eosTokenIds, tokenizerConfigJson, tokenizerJson } from "./gguf/tokenizer_json.ts";
import { openSafetensors } from "./safetensors.ts";
import type { Checkpoint } from "./checkpoint.ts";

/** A model on disk: a directory with config.json and safetensors, or a GGUF file. */
export interface ModelSource {
  /** Of the directory, or of the file; of a split file, its first part. */
  readonly path: string;
  /**
   * Its config.json and generation_config.json. Of a GGUF file they are made from the header.
   *
   * @throws {StartupError} for a header that no config can be made from.
   */
  configFiles(): ModelFiles;
  /** As `configFiles`, and the files of the tokenizer, which take up to seconds to make. */
  textFiles(): ModelFiles;
  /** @throws {StartupError} for weights that cannot be read; no file stays open then. */
  openCheckpoint(): Checkpoint;
}

/**
 * The model at a path. A directory without config.json and with one GGUF file (or the parts of one)
 * is that file.
 *
 * @throws {StartupError} for a directory with several GGUF files and no config.json, naming them.
 */
export function findModelSource(path: string): ModelSource {
  const gguf = isGgufPath(path) && !isDirectory(path) ? path : onlyGguf(path);
  if (gguf === undefined) {
    return {
      path,
      configFiles: () => path,
      textFiles: () => path,
      openCheckpoint: () => openSafetensors(path),
    };
  }
  return {
    path: gguf,
    configFiles: () => withGguf(gguf, (file) => ({ path: gguf, texts: configTexts(file) })),
    textFiles: () =>
      withGguf(gguf, (file) => ({
        path: gguf,
        texts: { ...configTexts(file), ...tokenizerTexts(file) },
      })),
    openCheckpoint: () => openGgufCheckpoint(gguf),
  };
}

/** The GGUF file that a directory without config.json holds; undefined without any. */
function onlyGguf(dir: string): string | undefined {
  if (exists(modelFile(dir, "config.json"))) return undefined;
  const names = namesIn(dir).filter((name) => isGgufPath(name) && !isLaterPart(name)).sort();
  if (names.length > 1) {
    throw new StartupError(
      `${dir} has ${names.length} GGUF files: name one of ${names.join(", ")}`,
    );
  }
  return names[0] === undefined ? undefined : modelFile(dir, names[0]);
}

function namesIn(dir: string): string[] {
  try {
    return [...Deno.readDirSync(dir)].map(({ name }) => name);
  } catch {
    // Whoever reads the model's files says what is wrong with the directory.
    return [];
  }
}

function withGguf<T>(path: string, make: (file: GgufFile) => T): T {
  const file = openGguf(path);
  try {
    return make(file);
  } finally {
    file.close();
  }
}

function configTexts(file: GgufFile): Record<string, string> {
  // A file without a vocabulary has a config all the same.
  const hasTokens = file.metadata.has("tokenizer.ggml.tokens");
  return {
    ...poolingTexts(file),
    "config.json": JSON.stringify(configJson(file)),
    "generation_config.json": JSON.stringify(
      generationConfigJson(file, hasTokens ? eosTokenIds(file.metadata) : []),
    ),
  };
}

function tokenizerTexts({ metadata }: GgufFile): Record<string, string> {
  return {
    "tokenizer.json": JSON.stringify(tokenizerJson(metadata)),
    "tokenizer_config.json": JSON.stringify(tokenizerConfigJson(metadata)),
  };
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
