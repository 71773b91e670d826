import { StartupError } from "../../core/errors.ts";
import type { Metadata } from "./metadata.ts";

/** Kinds of tokens, by their numbers in `tokenizer.ggml.token_type`. */
export const TOKEN_TYPE = {
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
} as const;

/** A file's tokens, by id. */
export interface Vocabulary {
  readonly tokens: readonly string[];
  /** Their kinds. */
  readonly types: readonly number[];
}

/** Longest token, UTF-16 code units; the longest runs of spaces have some hundreds. */
const MAX_TOKEN_CHARS = 4096;

/** Most tokens; several times what any published vocabulary has. */
const MAX_TOKENS = 1 << 20;

const TOKENS = "tokenizer.ggml.tokens";
const TYPES = "tokenizer.ggml.token_type";

/**
 * The tokens of a file and their kinds. Empty tokens get names of their own, as they could not be
 * told apart.
 *
 * @throws {StartupError} when there are none, too many, or one text twice.
 */
export function readVocabulary(metadata: Metadata): Vocabulary {
  const { file } = metadata;
  const listed = metadata.texts(TOKENS);
  if (listed === undefined || listed.length === 0) {
    throw new StartupError(`${file}: metadata lacks ${TOKENS}: the file has no tokenizer`);
  }
  if (listed.length > MAX_TOKENS) {
    throw new StartupError(`${file}: ${TOKENS} has ${listed.length} tokens: at most ${MAX_TOKENS}`);
  }
  const tokens = listed.map((token, id) => token === "" ? `[EMPTY_${id}]` : token);
  const idOf = new Map<string, number>();
  for (const [id, token] of tokens.entries()) {
    if (token.length > MAX_TOKEN_CHARS) {
      throw new StartupError(
        `${file}: token ${id} has ${token.length} characters: at most ${MAX_TOKEN_CHARS}`,
      );
    }
    const other = idOf.get(token);
    if (other !== undefined) {
      throw new StartupError(
        `${file}: ${TOKENS} has ${JSON.stringify(token.slice(0, 80))} twice, as ${other} and ${id}`,
      );
    }
    idOf.set(token, id);
  }
  const types = sameLength(metadata.numbers(TYPES), tokens.length, TYPES, file) ??
    tokens.map(() => TOKEN_TYPE.normal);
  return { tokens, types };
}

/**
 * A list that says something of each token.
 *
 * @throws {StartupError} when it has another length.
 */
export function sameLength<T>(
  list: readonly T[] | undefined,
  numTokens: number,
  key: string,
  file: string,
): readonly T[] | undefined {
  if (list === undefined || list.length === numTokens) return list;
  throw new StartupError(
    `${file}: ${key} has ${list.length} elements for ${numTokens} tokens: must be as many`,
  );
}

/** The id in the metadata of a special token; undefined for none, or one outside the vocabulary. */
export function specialId(
  metadata: Metadata,
  name: string,
  { tokens }: Vocabulary,
): number | undefined {
  const id = metadata.count(`tokenizer.ggml.${name}_token_id`);
  return id === undefined || id >= tokens.length ? undefined : id;
}
