/** A message as the chat template is given it. */
export interface OriginMessage {
  readonly role: string;
  readonly content: string;
  readonly reasoning_content?: string;
  readonly tool_calls?: readonly unknown[];
  readonly tool_call_id?: string;
  readonly name?: string;
}

/** What the prompt of a chat was made of. */
export interface PromptOrigin {
  readonly messages: readonly OriginMessage[];
  readonly tools?: readonly unknown[];
  readonly variables: Readonly<Record<string, boolean | string>>;
  /** Characters of all its texts, about. */
  readonly numChars: number;
}
