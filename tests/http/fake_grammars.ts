import type { CompiledGrammar } from "../../src/core/compiled_grammar.ts";
import type { GrammarFormat } from "../../src/core/grammar_format.ts";
import type { GrammarPort } from "../../src/http/services.ts";

const NOTHING = { numBytes: 0, pages: new Uint32Array(), contents: new Uint8Array() };

/** Keeps the formats that it is asked for. */
export class FakeGrammars implements GrammarPort {
  readonly formats: { readonly format: GrammarFormat; readonly param: string }[] = [];
  /** Thrown by `compile`. */
  refusal: Error | undefined;

  compile(format: GrammarFormat, param: string): Promise<CompiledGrammar> {
    if (this.refusal !== undefined) return Promise.reject(this.refusal);
    this.formats.push({ format, param });
    return Promise.resolve({
      key: JSON.stringify(format),
      vocabSize: 256,
      code: new Uint8Array(),
      base: NOTHING,
      changes: NOTHING,
      address: 1,
    });
  }
}
