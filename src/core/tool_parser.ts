/** A function that a model may call, as a request defines it. */
export interface ToolDefinition {
  readonly name: string;
  readonly description?: string;
  /** JSON schema of its arguments, an object. */
  readonly parameters?: unknown;
}

/** What a parser makes of a model's text. */
export type ToolPiece =
  /** Text of the answer itself. */
  | { readonly type: "text"; readonly text: string }
  /** A call, complete; `arguments` is JSON. */
  | { readonly type: "call"; readonly name: string; readonly arguments: string };

/**
 * Finds calls in a text that comes in pieces. The pieces together are the same however the text is
 * split, and no part of a call is ever text.
 */
export interface ToolParser {
  push(text: string): readonly ToolPiece[];
  /** The rest, at the end of the text. */
  flush(): readonly ToolPiece[];
}
