import {
  type ChatMessage,
  type ChatOptions,
  ChatTemplate,
  type ChatTemplateOptions,
} from "./chat_template.ts";
import type { DetokenizeOptions } from "./detokenizer.ts";
import { loadTokenizer } from "./tokenizer.ts";

/** Ids to text as a sequence grows; see `Detokenizer`. */
export interface IncrementalDetokenizer {
  /** The text that `ids` complete; may be empty. */
  push(ids: readonly number[]): string;
  /** What is left when the sequence has ended. */
  flush(): string;
}

/** Everything that the door needs to turn requests into ids and ids into answers. */
export interface TextService {
  /** Ids of a plain prompt, with the special tokens that belong around every text by default. */
  encode(text: string, options?: { readonly addSpecialTokens?: boolean }): Uint32Array;
  /**
   * Ids of a conversation, as the model's chat template writes it.
   *
   * @throws {RequestError} when the template is missing, refuses the messages or costs too much.
   */
  encodeChat(messages: readonly ChatMessage[], options?: ChatOptions): Promise<Uint32Array>;
  /** A decoder for one answer; special tokens are left out unless asked for. */
  createDetokenizer(options?: DetokenizeOptions): IncrementalDetokenizer;
  /** A token's text by itself; U+FFFD where it is part of a character. */
  tokenText(id: number): string;
  /** A token's exact bytes; empty outside the vocabulary. */
  tokenBytes(id: number): Uint8Array;
  /** Text of ids, special tokens written out. */
  decode(ids: Iterable<number>): string;
  /** One more than the tokenizer's highest id; the model's own vocabulary may be larger. */
  readonly vocabSize: number;
  /** Tokens that end an answer. */
  readonly eosTokenIds: readonly number[];
  /** A text of n UTF-16 code units has about n over this many tokens, or more. */
  readonly maxCharsPerToken: number;
  /** Ends the template's Worker. */
  close(): void;
}

/**
 * Loads the tokenizer and the chat template of the model in `dir`.
 *
 * @throws {StartupError} naming the file and what is wrong with it.
 */
export async function loadTextService(
  dir: string,
  options: ChatTemplateOptions = {},
): Promise<TextService> {
  const tokenizer = loadTokenizer(dir);
  const template = await ChatTemplate.load(dir, tokenizer, options);
  return {
    encode: (text, options) => tokenizer.encode(text, options),
    async encodeChat(messages, chatOptions) {
      // The template has written the special tokens already, the first one included.
      const text = await template.render(messages, chatOptions);
      return tokenizer.encode(text, { addSpecialTokens: false });
    },
    createDetokenizer: (options = {}) =>
      tokenizer.createDetokenizer({ skipSpecialTokens: true, ...options }),
    tokenText: (id) => tokenizer.tokenText(id),
    tokenBytes: (id) => tokenizer.tokenBytes(id),
    decode: (ids) => tokenizer.decode([...ids]),
    vocabSize: tokenizer.vocabSize,
    eosTokenIds: tokenizer.eosTokenIds,
    maxCharsPerToken: tokenizer.maxCharsPerToken,
    close: () => template.close(),
  };
}
