import { z } from "zod";
import { modelFile, type ModelFiles, parseModelJson, readModelJson } from "../core/model_json.ts";

/** A model's special tokens, from its small files. */
export interface SpecialTokens {
  /** Text of the token that starts a sequence. */
  readonly bosToken?: string;
  /** Text of the token that ends one. */
  readonly eosToken?: string;
  /**
   * Whether the start token is put before every text, also where the tokenizer's own rules omit it.
   */
  readonly addsBosToken: boolean;
  /** Ids that end an answer, by the first file that names any; see {@link loadSpecialTokens}. */
  readonly eosTokenIds: readonly number[];
}

const TokenId = z.int().min(0).max(0x7fffffff);

const IdsJson = z.object({
  eos_token_id: z.union([TokenId, z.array(TokenId).max(64)]).nullish(),
});

const TokenText = z.union([z.string().max(256), z.object({ content: z.string().max(256) })]);

const TokenizerConfigJson = z.object({
  bos_token: TokenText.nullish(),
  eos_token: TokenText.nullish(),
  add_bos_token: z.boolean().nullish(),
});

/**
 * Collects the special tokens of a model. End tokens come from generation_config.json
 * (chat models end on several), or else config.json, or else tokenizer_config.json.
 *
 * @param idOf the id of a token's text, undefined when it has none.
 * @throws {StartupError} naming the file, the field and its value.
 */
export function loadSpecialTokens(
  files: ModelFiles,
  idOf: (token: string) => number | undefined,
): SpecialTokens {
  const config = parseModelJson(
    TokenizerConfigJson,
    readModelJson(files, "tokenizer_config.json") ?? {},
    modelFile(files, "tokenizer_config.json"),
  );
  const bosToken = textOf(config.bos_token);
  const eosToken = textOf(config.eos_token);
  return {
    ...(bosToken === undefined ? {} : { bosToken }),
    ...(eosToken === undefined ? {} : { eosToken }),
    addsBosToken: config.add_bos_token ?? false,
    eosTokenIds: Object.freeze(
      eosIdsIn(files, "generation_config.json") ?? eosIdsIn(files, "config.json") ??
        idsOf(eosToken, idOf),
    ),
  };
}

function eosIdsIn(files: ModelFiles, name: string): number[] | undefined {
  const json = readModelJson(files, name);
  if (json === undefined) return undefined;
  const { eos_token_id: ids } = parseModelJson(IdsJson, json, modelFile(files, name));
  if (ids === null || ids === undefined) return undefined;
  return typeof ids === "number" ? [ids] : [...new Set(ids)];
}

function idsOf(
  token: string | undefined,
  idOf: (token: string) => number | undefined,
): number[] {
  const id = token === undefined ? undefined : idOf(token);
  return id === undefined ? [] : [id];
}

function textOf(token: string | { content: string } | null | undefined): string | undefined {
  return typeof token === "object" ? token?.content : token;
}
