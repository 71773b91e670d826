import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import { StartupError } from "../core/errors.ts";
import { modelFile, type ModelFiles, readModelJson } from "../core/model_json.ts";
import { isControlToken } from "./control_tokens.ts";
import { type DetokenizeOptions, Detokenizer, joinBytes, type TokenTable } from "./detokenizer.ts";
import { type EncodeOptions, Encoder } from "./encoder.ts";
import type { FillInTokens } from "../core/fill_in_tokens.ts";
import { findFillInTokens } from "./fill_in.ts";
import { loadSpecialTokens, type SpecialTokens } from "./special_tokens.ts";
import { loadTokenizerJson } from "./tokenizer_json.ts";
import { parseTokenBytesScheme, type TokenBytesScheme } from "./token_bytes.ts";

const NO_BYTES = new Uint8Array();
const ENCODER = new TextEncoder();

/**
 * Loads the tokenizer of a model from its `tokenizer.json`, with what
 * `tokenizer_config.json`, `config.json` and `generation_config.json` say of its special tokens.
 *
 * @throws {StartupError} naming the file and what is wrong with it.
 */
export function loadTokenizer(files: ModelFiles): Tokenizer {
  const file = modelFile(files, "tokenizer.json");
  const json = loadTokenizerJson(files);
  const scheme = parseTokenBytesScheme(json.decoder, file);
  const config = readModelJson(files, "tokenizer_config.json") ?? {};
  try {
    const library = new LibraryTokenizer(json, config as object);
    const special = loadSpecialTokens(files, (token) => library.token_to_id(token));
    const encoder = new Encoder(library, json, config);
    const tokenizer = new Tokenizer(library, encoder, scheme, special);
    // Rules that name unknown tokens fail here, and not in the first request.
    tokenizer.encode("a");
    return tokenizer;
  } catch (error) {
    if (error instanceof StartupError) throw error;
    throw new StartupError(`Cannot use ${file}: ${(error as Error).message}`);
  }
}

/**
 * Text to token ids and back, for one vocabulary.
 *
 * Encoding is the library's, in spans (`Encoder`). Decoding is our own, over bytes: it streams,
 * keeps ill-formed bytes apart per token, and keeps the spaces before punctuation, whose removal
 * (`clean_up_tokenization_spaces`) would change the model's text.
 */
export class Tokenizer implements TokenTable {
  /** One more than the highest id. A model's own vocabulary may be padded beyond it. */
  readonly vocabSize: number;
  readonly eosTokenIds: readonly number[];
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
  /**
   * UTF-16 code units of the longest token's text. A text of n units has about n over this many
   * tokens or more, so a longer one can be refused before the work of encoding it. (Normalization
   * and tokens that swallow white space can make a text shorter; no real prompt depends on it.)
   */
  readonly maxCharsPerToken: number;
  readonly dropsLeadingSpace: boolean;
  /** Tokens for filling text in; undefined for a model without. */
  readonly fillIn: FillInTokens | undefined;
  /** Texts of the tokens that steer the model; see `isControlToken`. */
  readonly controlTokens: readonly string[];
  readonly #library: LibraryTokenizer;
  readonly #scheme: TokenBytesScheme;
  /** Added tokens by id: their text, and whether they are special. */
  readonly #added: ReadonlyMap<number, { readonly content: string; readonly special: boolean }>;
  readonly #encoder: Encoder;
  /** Ids that belong around every text, and those that stay when none are to be added. */
  readonly #around: { readonly before: number[]; readonly behind: number[] };
  readonly #always: { readonly before: number[]; readonly behind: number[] };
  /** Bytes of the tokens asked for so far, by id. */
  readonly #bytes: (Uint8Array | undefined)[] = [];

  constructor(
    library: LibraryTokenizer,
    encoder: Encoder,
    scheme: TokenBytesScheme,
    special: SpecialTokens,
  ) {
    this.#library = library;
    this.#encoder = encoder;
    this.#scheme = scheme;
    this.#added = library.get_added_tokens_decoder();
    this.controlTokens = [...this.#added.values()].filter(isControlToken)
      .map(({ content }) => content);
    this.fillIn = findFillInTokens((token) => library.token_to_id(token));
    this.dropsLeadingSpace = scheme.dropsLeadingSpace;
    this.eosTokenIds = special.eosTokenIds;
    this.bosToken = special.bosToken;
    this.eosToken = special.eosToken;
    const ids = [...library.get_vocab().values()];
    this.vocabSize = ids.reduce((most, id) => Math.max(most, id), -1) + 1;
    this.maxCharsPerToken = this.#longestToken(ids);
    const { before, behind } = encoder.around(true);
    this.#around = { before: [...this.#missingBos(special, before), ...before], behind };
    this.#always = encoder.around(false);
  }

  /**
   * Ids of `text`. By default, the special tokens that belong around every text are added, and
   * those spelled in the text become their ids.
   */
  encode(text: string, options: EncodeOptions = {}): Uint32Array<ArrayBuffer> {
    const { before, behind } = options.addSpecialTokens ?? true ? this.#around : this.#always;
    const ids = this.#encoder.encode(text, options);
    const result = new Uint32Array(before.length + ids.length + behind.length);
    result.set(before);
    result.set(ids, before.length);
    result.set(behind, before.length + ids.length);
    return result;
  }

  /** Text of `ids`, special tokens written out unless told otherwise. */
  decode(ids: readonly number[] | Uint32Array, options: DetokenizeOptions = {}): string {
    const skip = options.skipSpecialTokens ?? false;
    const kept = Array.from(ids).filter((id) => !(skip && this.isSpecial(id)));
    const bytes = joinBytes(kept.map((id) => this.tokenBytes(id)));
    const text = decodeUtf8(bytes);
    const drops = this.dropsLeadingSpace && !(options.continuesText ?? false);
    return drops && text.startsWith(" ") ? text.slice(1) : text;
  }

  /** A decoder for one growing sequence. */
  createDetokenizer(options: DetokenizeOptions = {}): Detokenizer {
    return new Detokenizer(this, options);
  }

  /**
   * A token's text by itself; U+FFFD where it is part of a character, empty outside the vocabulary.
   */
  tokenText(id: number): string {
    return decodeUtf8(this.tokenBytes(id));
  }

  tokenBytes(id: number): Uint8Array {
    return this.#bytes[id] ??= this.#computeBytes(id);
  }

  isSpecial(id: number): boolean {
    return this.#added.get(id)?.special ?? false;
  }

  #computeBytes(id: number): Uint8Array {
    const added = this.#added.get(id);
    if (added !== undefined) return ENCODER.encode(added.content);
    const token = this.#library.id_to_token(id);
    return token === undefined ? NO_BYTES : this.#scheme.bytesOf(token);
  }

  #longestToken(ids: readonly number[]): number {
    let longest = 1;
    for (const id of ids) {
      // A unit of a token's name stands for one of its text at most: few are decoded here.
      const name = this.#added.get(id)?.content ?? this.#library.id_to_token(id) ?? "";
      if (name.length <= longest) continue;
      longest = Math.max(longest, decodeUtf8(this.#computeBytes(id)).length);
    }
    return longest;
  }

  /**
   * Some tokenizer.json files rely on the loader to apply `add_bos_token`, which the library does
   * not.
   */
  #missingBos({ addsBosToken, bosToken }: SpecialTokens, before: readonly number[]): number[] {
    if (!addsBosToken || bosToken === undefined) return [];
    const id = this.#library.token_to_id(bosToken);
    return id === undefined || before[0] === id ? [] : [id];
  }
}

function decodeUtf8(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}
