/**
 * The pages of a memory that are not zero, or not those of another one: data that threads share.
 */
export interface SparseMemory {
  /** Size of the whole memory, bytes. */
  readonly numBytes: number;
  /** Numbers of the pages that it has, ascending. */
  readonly pages: Uint32Array;
  /** Their contents, one after the other. */
  readonly contents: Uint8Array;
}

/**
 * A grammar that is ready to match tokens of one vocabulary. Only `src/grammar` looks inside; other
 * rooms carry it, and its memory is shared and never copied.
 */
export interface CompiledGrammar {
  /** Tells it from the grammars of other sources. */
  readonly key: string;
  /** Tokens that the vocabulary has. */
  readonly vocabSize: number;
  /** The matcher's code, WebAssembly. */
  readonly code: Uint8Array;
  /** What all grammars of a vocabulary have in common, and what this one adds or changes. */
  readonly base: SparseMemory;
  readonly changes: SparseMemory;
  /** Where in that memory the grammar lies. */
  readonly address: number;
}

/** Bytes that a grammar takes in the memory of a matcher, its vocabulary included. */
export function grammarBytes({ base, changes }: CompiledGrammar): number {
  return base.contents.length + changes.contents.length;
}
