import {
  type ChatOptions,
  ChatTemplate,
  type ChatTemplateOptions,
  type TemplateMessage,
} from "./chat_template.ts";
import type { ModelFiles } from "../core/model_json.ts";
import type { DetokenizeOptions } from "./detokenizer.ts";
import type { FillInTokens } from "../core/fill_in_tokens.ts";
import { TextPool, type TextPoolOptions } from "./text_pool.ts";
import { loadTokenizer } from "./tokenizer.ts";

/** Ids to text as a sequence grows; see `Detokenizer`. */
export interface IncrementalDetokenizer {
  /** The text that `ids` complete; may be empty. */
  push(ids: readonly number[]): string;
  /** The remaining text at the end of the sequence. */
  flush(): string;
}

/** Turns the texts of requests into ids, and ids into the texts of answers. */
export interface TextService {
  /**
   * Ids of each plain text of a request, with the special tokens that belong around every text by
   * default. Special tokens in a text become their ids, as in vLLM, unless `parseSpecial` is false:
   * then control tokens are text.
   *
   * @throws {RequestError} when the texts are too long, take too long, or too many others wait.
   */
  encode(
    texts: readonly string[],
    options?: { readonly addSpecialTokens?: boolean; readonly parseSpecial?: boolean },
  ): Promise<readonly Uint32Array[]>;
  /**
   * Ids of a conversation, as the model's chat template writes it. The content of a message is
   * text, even where it spells a control token: only the template writes those.
   *
   * @throws {RequestError} when the template is missing, refuses the messages or costs too much.
   */
  encodeChat(messages: readonly TemplateMessage[], options?: ChatOptions): Promise<Uint32Array>;
  /** A decoder for one answer; special tokens are left out unless asked for. */
  createDetokenizer(options?: DetokenizeOptions): IncrementalDetokenizer;
  /** A token's text by itself; U+FFFD where it is part of a character. */
  tokenText(id: number): string;
  /** A token's exact bytes; empty outside the vocabulary. */
  tokenBytes(id: number): Uint8Array;
  /**
   * Text of each run of ids, special tokens written out.
   *
   * @throws {RequestError} when the texts would be too long, or as `encode` does.
   */
  decode(batch: readonly Iterable<number>[]): Promise<readonly string[]>;
  /** One more than the tokenizer's highest id; the model's own vocabulary may be larger. */
  readonly vocabSize: number;
  /** Ids that end a sequence by the model's own account. */
  readonly eosTokenIds: readonly number[];
  /**
   * Most UTF-16 code units that one token stands for, so that a text of n has at least about n over
   * this many tokens.
   */
  readonly maxCharsPerToken: number;
  /** Tokens for filling text in; undefined for a model without. */
  readonly fillIn: FillInTokens | undefined;
  /** The chat template, in Jinja; undefined for a model without one. */
  readonly chatTemplate: string | undefined;
  /** Ends the Workers; their tasks fail. */
  close(): void;
}

/** Settings of a {@link TextService}; the defaults are meant for serving. */
export type TextServiceOptions = ChatTemplateOptions & TextPoolOptions;

/**
 * Loads the tokenizer and the chat template of a model.
 *
 * @throws {StartupError} naming the file and what is wrong with it.
 */
export async function loadTextService(
  files: ModelFiles,
  options: TextServiceOptions = {},
): Promise<TextService> {
  const tokenizer = loadTokenizer(files);
  const template = await ChatTemplate.load(files, tokenizer, options);
  const pool = new TextPool(files, tokenizer, options);
  return {
    encode: (texts, options) => pool.encode(texts, options),
    async encodeChat(messages, chatOptions) {
      const { text, placeholders } = await template.renderMasked(messages, chatOptions);
      // The template has written the special tokens already, the first one included.
      const [ids] = await pool.encode([text], { addSpecialTokens: false, placeholders });
      return ids!;
    },
    createDetokenizer: (options = {}) =>
      tokenizer.createDetokenizer({ skipSpecialTokens: true, ...options }),
    tokenText: (id) => tokenizer.tokenText(id),
    tokenBytes: (id) => tokenizer.tokenBytes(id),
    decode: (batch) => pool.decode(batch),
    vocabSize: tokenizer.vocabSize,
    eosTokenIds: tokenizer.eosTokenIds,
    maxCharsPerToken: tokenizer.maxCharsPerToken,
    fillIn: tokenizer.fillIn,
    chatTemplate: template.source,
    close() {
      template.close();
      pool.close();
    },
  };
}
