/** What an operator may ask of the running engine; carried out between two steps. */
export type EngineCommand =
  /** Forget the KV of all earlier prompts; refused (409) while sequences run, unless they may be preempted. */
  | { readonly type: "reset_prefix_cache"; readonly preempt: boolean }
  /** Audit queues, block tables, pool and cache; the engine ends with an error if they are damaged. */
  | { readonly type: "check_integrity" };

/** What each command answers, by its type. */
export interface CommandAnswers {
  readonly reset_prefix_cache: { readonly numPreempted: number };
  readonly check_integrity: {
    readonly numBlocks: number;
    readonly numFreeBlocks: number;
    readonly numCachedBlocks: number;
  };
}

/** The answer to one command. */
export type AnswerOf<C extends EngineCommand> = CommandAnswers[C["type"]];
