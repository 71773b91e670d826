/**
 * What an answer has to look like, as data: XGrammar's structural formats (Dong 2024,
 * arXiv:2411.15100), of which a request's own fields are short forms.
 */
export type GrammarFormat =
  /** A JSON value that is valid by a schema. */
  | { readonly type: "json_schema"; readonly json_schema: unknown }
  /** A text that the regular expression matches from its first to its last character. */
  | { readonly type: "regex"; readonly pattern: string }
  /** A text of a context-free grammar in EBNF, whose first rule is `root`. */
  | { readonly type: "grammar"; readonly grammar: string }
  | { readonly type: "const_string"; readonly value: string }
  | { readonly type: "any_text" }
  | { readonly type: "sequence" | "or"; readonly elements: readonly GrammarFormat[] }
  | TagFormat
  /** Any text; what begins with a trigger has to go on as one of the tags. */
  | {
    readonly type: "triggered_tags";
    readonly triggers: readonly string[];
    readonly tags: readonly TagFormat[];
    readonly at_least_one?: boolean;
    readonly stop_after_first?: boolean;
  }
  | {
    readonly type: "tags_with_separator";
    readonly tags: readonly TagFormat[];
    readonly separator: string;
    readonly at_least_one?: boolean;
    readonly stop_after_first?: boolean;
  };

/** Something between two marks. */
export interface TagFormat {
  readonly type: "tag";
  readonly begin: string;
  readonly content: GrammarFormat;
  readonly end: string;
}
