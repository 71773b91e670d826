import { nearestName } from "../base/edit_distance.ts";
import { HubError } from "./hub_errors.ts";
import { formatModelReference, type ModelReference } from "./model_reference.ts";

/** The checkpoint's only file, when it is not sharded. */
const SINGLE_WEIGHTS = "model.safetensors";
/** Says which shard holds which tensor. */
const WEIGHTS_INDEX = "model.safetensors.index.json";
/** The file that every model has. */
export const CONFIG_FILE = "config.json";
/** The tokenizer that Quire reads; those in other files are fetched for other programs. */
export const TOKENIZER_FILE = "tokenizer.json";

/** Beside the weights: what a model is, how it reads and how it speaks. */
const SMALL_FILES: ReadonlySet<string> = new Set([
  CONFIG_FILE,
  "generation_config.json",
  TOKENIZER_FILE,
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "tokenizer.model",
  "vocab.json",
  "merges.txt",
  "chat_template.jinja",
  "chat_template.json",
  "modules.json",
]);
/** Further templates, and the configurations of Sentence Transformers' modules. */
const EXTRA_FILES = [
  /^additional_chat_templates\/[^/]+\.jinja$/,
  /^\d+_\w+\/config\.json$/,
];
/** `-00001-of-00003` at the end of a split file's name. */
const SPLIT = /-(\d{5})-of-(\d{5})$/;
const PICKLED = /\.(bin|pt|pth|ckpt)$/;
const MAX_NUM_SHARDS = 1024;
const MAX_NAMES_SHOWN = 12;

/** The files of a repository that a reference needs. */
export interface Selection {
  /** Fetched first: they say whether the rest is wanted. */
  readonly small: readonly string[];
  /** The weights; for an index, what it names is still to be read. */
  readonly weights: readonly string[];
  /** The index of sharded weights, which is among `small`. */
  readonly index?: string;
}

/**
 * Chooses among a repository's files: for a plain name config, tokenizer, templates and
 * safetensors; for a quantization or a file the GGUF or safetensors that it names, with all parts
 * of a split one.
 *
 * @throws {HubError} where nothing matches, with the names that would.
 */
export function selectFiles(paths: readonly string[], reference: ModelReference): Selection {
  const { file, quant } = reference;
  if (quant !== undefined) return { small: [], weights: ofQuant(paths, reference, quant) };
  if (file !== undefined) return ofFile(paths, reference, file);
  const small = smallFiles(paths);
  if (paths.includes(SINGLE_WEIGHTS)) return { small, weights: [SINGLE_WEIGHTS] };
  if (paths.includes(WEIGHTS_INDEX)) {
    return { small: [...small, WEIGHTS_INDEX], weights: [], index: WEIGHTS_INDEX };
  }
  throw withoutSafetensors(paths, reference);
}

/**
 * The shards that the text of an index names, in order of first mention.
 *
 * @throws {HubError} for an index of another form, or with more shards than there can be.
 */
export function shardsOf(index: string, reference: ModelReference): string[] {
  const refuse = (what: string) =>
    new HubError("server", `${formatModelReference(reference)}: ${WEIGHTS_INDEX} ${what}`);
  let map: unknown;
  try {
    map = (JSON.parse(index) as { weight_map?: unknown } | null)?.weight_map;
  } catch {
    throw refuse("is not JSON");
  }
  if (typeof map !== "object" || map === null) throw refuse('has no "weight_map"');
  const shards = [...new Set(Object.values(map))];
  if (shards.length === 0 || shards.length > MAX_NUM_SHARDS) {
    throw refuse(`names ${shards.length} files: must be 1 to ${MAX_NUM_SHARDS}`);
  }
  for (const shard of shards) {
    if (typeof shard === "string" && /^[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors$/.test(shard)) {
      continue;
    }
    throw refuse(`names the file ${JSON.stringify(shard)}: must be a plain .safetensors name`);
  }
  return shards as string[];
}

/** The quantizations that the GGUF files of a repository are named by, sorted. */
export function quantsOf(paths: readonly string[]): string[] {
  const names = paths.filter(isGguf).map((path) =>
    /[-._]([A-Z]*\d[A-Z0-9_]*|BF16|F16|F32|MXFP4\w*)$/i.exec(stemOf(path))?.[1] ?? stemOf(path)
  );
  return [...new Set(names)].sort();
}

function smallFiles(paths: readonly string[]): string[] {
  return paths.filter((path) => SMALL_FILES.has(path) || EXTRA_FILES.some((one) => one.test(path)));
}

function ofQuant(paths: readonly string[], reference: ModelReference, quant: string): string[] {
  const wanted = quant.toLowerCase();
  const matches = paths.filter(isGguf).filter((path) => {
    const parts = path.toLowerCase().split("/");
    const stem = stemOf(path).toLowerCase();
    const isNamed = stem === wanted || stem.endsWith(`-${wanted}`) ||
      stem.endsWith(`.${wanted}`) || stem.endsWith(`_${wanted}`);
    return isNamed || parts.slice(0, -1).includes(wanted);
  });
  const stems = new Set(matches.map(withoutPart));
  if (stems.size === 1) return wholeSplit(matches, reference);
  const name = formatModelReference(reference);
  if (stems.size > 1) {
    throw new HubError("no-file", `${name} could be ${some(matches)}: name one, after ':'`);
  }
  const quants = quantsOf(paths);
  throw new HubError(
    "no-file",
    `${reference.repo} has no GGUF file of ${quant}: ` +
      (quants.length === 0 ? "it has no GGUF files at all" : `it has ${some(quants)}`),
  );
}

function ofFile(paths: readonly string[], reference: ModelReference, file: string): Selection {
  if (!/\.(gguf|safetensors)$/i.test(file)) {
    throw new HubError("no-file", `${file} is neither .gguf nor .safetensors: it is not fetched`);
  }
  if (!paths.includes(file)) {
    const nearest = nearestName(file, paths);
    throw new HubError(
      "no-file",
      `${reference.repo} has no file ${file}` +
        (nearest === undefined ? `: it has ${some(paths)}` : `: did you mean ${nearest}?`),
    );
  }
  if (!isGguf(file)) {
    return { small: smallFiles(paths).filter((path) => path !== file), weights: [file] };
  }
  const isPart = (path: string) => isSplit(path) && withoutPart(path) === withoutPart(file);
  const parts = isSplit(file) ? paths.filter(isPart) : [file];
  return { small: [], weights: wholeSplit(parts.filter(isGgufName), reference) };
}

/** The parts of a split file in order, where none is missing. */
function wholeSplit(parts: readonly string[], reference: ModelReference): string[] {
  const [, , total] = SPLIT.exec(withoutEnding(parts[0]!)) ?? [];
  if (total !== undefined && parts.length !== Number(total)) {
    throw new HubError(
      "no-file",
      `${formatModelReference(reference)} is split into ${Number(total)} files, and ` +
        `${parts.length} are there`,
    );
  }
  return [...parts].sort();
}

function withoutSafetensors(paths: readonly string[], reference: ModelReference): HubError {
  const { repo } = reference;
  const quants = quantsOf(paths);
  if (quants.length > 0) {
    return new HubError(
      "no-file",
      `${repo} has no ${SINGLE_WEIGHTS}, but GGUF files: name one, such as ${repo}:${quants[0]} ` +
        `(there are ${some(quants)})`,
    );
  }
  const hasPickled = paths.some((path) => PICKLED.test(path));
  return new HubError(
    "no-file",
    `${repo} has no ${SINGLE_WEIGHTS} and no ${WEIGHTS_INDEX}` +
      (hasPickled ? ": its weights are pickled, which can run code, and are not fetched" : ""),
  );
}

/** Whether a file holds a language model in GGUF; projectors of images are none. */
function isGguf(path: string): boolean {
  return isGgufName(path) && !/^mmproj/i.test(path.split("/").at(-1)!);
}

/** Whether a name is that of a GGUF file. */
export function isGgufName(path: string): boolean {
  return /\.gguf$/i.test(path);
}

function withoutEnding(path: string): string {
  return path.replace(/\.gguf$/i, "");
}

/** Whether a file is a part of a split one. */
function isSplit(path: string): boolean {
  return SPLIT.test(withoutEnding(path));
}

/** A file's path without ending and number of the part. */
function withoutPart(path: string): string {
  return withoutEnding(path).replace(SPLIT, "");
}

/** A file's name without folder, ending and number of the part. */
function stemOf(path: string): string {
  return withoutPart(path.split("/").at(-1)!);
}

function some(names: readonly string[]): string {
  const shown = names.slice(0, MAX_NAMES_SHOWN).join(", ");
  const numMore = names.length - MAX_NAMES_SHOWN;
  return numMore > 0 ? `${shown} and ${numMore} more` : shown;
}
