import type { FillInTokens } from "../core/fill_in_tokens.ts";
import type { TokenId } from "../core/ids.ts";

/** One message of a conversation as a chat template reads it; `developer` has become `system`. */
export interface ChatMessage {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content: string;
  /** Of an assistant's message: what it called, with arguments as values. */
  readonly tool_calls?: readonly ChatToolCall[];
  /** Of an assistant's message: what it thought; most templates leave it out of earlier turns. */
  readonly reasoning_content?: string;
  /** Of a tool's message: the call that it answers, and the tool's name where that is given. */
  readonly tool_call_id?: string;
  readonly name?: string;
}

/** A call as a chat template reads it. */
export interface ChatToolCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: unknown };
}

/** How a plain text becomes ids. */
export interface EncodeTextOptions {
  /**
   * Adds the special tokens that the model puts around every text, such as a beginning of sequence;
   * the default. It says nothing about special tokens in the text itself.
   */
  readonly addSpecialTokens?: boolean;
  /** Control tokens in the text, such as `<|im_end|>`, become their ids; the default. */
  readonly parseSpecial?: boolean;
}

/** How a chat template closes the conversation. */
export interface EncodeChatOptions {
  /** Open the assistant's turn; true unless told otherwise. */
  readonly addGenerationPrompt?: boolean;
  /**
   * Leave the last message, the assistant's own, unfinished so that the model goes on writing it.
   */
  readonly continueFinalMessage?: boolean;
  /** Tools as the request has them; the template writes them into the prompt. */
  readonly tools?: readonly unknown[];
  /** Further variables of the template. */
  readonly variables?: Readonly<Record<string, boolean | string>>;
}

/** How a sequence becomes text. */
export interface DetokenizerOptions {
  /** Special tokens print nothing; true unless told otherwise. */
  readonly skipSpecialTokens?: boolean;
  /** The text goes on from a prompt, so that a leading space of it is kept. */
  readonly continuesText?: boolean;
}

/** Turns the token ids of one sequence into text as they come. */
export interface DetokenizerPort {
  /** Text that is complete after these ids; never half a character, possibly empty. */
  push(ids: readonly TokenId[]): string;
  /** The remaining text at the end of the sequence. */
  flush(): string;
}

/** Finds the first stop string in a text that comes in pieces. */
export interface StopStringPort {
  /**
   * Takes the next piece and returns the text that can no longer be part of a stop string. With
   * `matched`, that stop string is complete and `text` ends before it; every later call returns it
   * again with no text.
   */
  push(text: string): { readonly text: string; readonly matched?: string };
  /** The text held back as the possible beginning of a stop string. */
  flush(): string;
}

/** The tokenizer of the served model, as far as this room needs it. */
export interface TextPort {
  readonly vocabSize: number;
  /** Ids that end a sequence by the model's own account. */
  readonly eosTokenIds: readonly TokenId[];
  /** Tokens for filling text in between a prompt and a suffix; absent where the model has none. */
  readonly fillIn?: FillInTokens | undefined;
  /**
   * Ids of each text of a request. Long texts are tokenized in Workers, so that other requests go
   * on.
   *
   * @throws {RequestError} when the texts are too long or take too long.
   */
  encode(texts: readonly string[], options?: EncodeTextOptions): Promise<readonly Uint32Array[]>;
  /**
   * Ids of a conversation. The content of a message is text, even where it spells a control token:
   * only the model's template writes those.
   *
   * @throws {RequestError} when the template refuses the conversation, or as `encode` does.
   */
  encodeChat(messages: readonly ChatMessage[], options?: EncodeChatOptions): Promise<Uint32Array>;
  /**
   * Text of each run of ids of a request, special tokens written out.
   *
   * @throws {RequestError} when the texts would be too long or take too long.
   */
  decode(batch: readonly Iterable<TokenId>[]): Promise<readonly string[]>;
  /** A detokenizer for one sequence. */
  createDetokenizer(options?: DetokenizerOptions): DetokenizerPort;
  /** A token for people; bytes that are not a character stand as an escape. */
  tokenText(id: TokenId): string;
  /** The bytes a token adds to the text. */
  tokenBytes(id: TokenId): Uint8Array;
}
