import type { CompiledGrammar, SparseMemory } from "../core/compiled_grammar.ts";
import type { GrammarFormat } from "../core/grammar_format.ts";
import { BYTE_LEVEL_ALPHABET } from "../tokenizer/token_bytes.ts";
import { type SchemaGrammar, schemaGrammar } from "./schema_grammar.ts";
import { SchemaError } from "./schema_reader.ts";
import { captureMemory, restoreMemory } from "./sparse_memory.ts";
import { GrammarLimitError, meteredCode, XGrammar } from "./xgrammar.ts";

/** The tokens that grammars are compiled for. */
export interface GrammarVocabulary {
  /** Bytes of each token by its id; empty for tokens that are no text. */
  readonly tokens: readonly Uint8Array[];
  /** Tokens that end a text. */
  readonly stopTokenIds: readonly number[];
}

/** What one compilation may cost. */
export interface GrammarLimits {
  readonly deadlineMs: number;
  /** Memory of an instance, bytes. */
  readonly maxBytes: number;
}

/** One compilation; data, since it goes to a Worker. */
export interface GrammarTask {
  readonly key: string;
  readonly format: GrammarFormat;
  readonly limits: GrammarLimits;
}

/** How a compilation ended; data, since it comes from a Worker. */
export type GrammarOutcome =
  | { readonly type: "compiled"; readonly grammar: CompiledGrammar }
  /** `refused`: no grammar holds it; `limit`: it takes too much time or memory. */
  | { readonly type: "refused" | "limit"; readonly message: string };

/**
 * Compiles grammars for one vocabulary.
 *
 * Each compilation begins with the same memory, in which the vocabulary is ready, and ends with a
 * copy of what it has changed: nothing that a grammar does to the library outlives it.
 */
export class GrammarCompiler {
  readonly #code: Uint8Array<ArrayBuffer>;
  readonly #base: SparseMemory;
  readonly #baseMemory: ArrayBuffer;
  readonly #compilerAddress: number;
  readonly #vocabSize: number;

  /** Reads the vocabulary into a memory; O(vocabulary), some 0.2 s for 150,000 tokens. */
  constructor({ tokens, stopTokenIds }: GrammarVocabulary) {
    this.#code = shared(meteredCode());
    this.#vocabSize = tokens.length;
    const xgrammar = new XGrammar(this.#code);
    const { binding } = xgrammar;
    const texts = binding.vecStringFromJSArray(tokens.map(lettersOf));
    const stops = binding.vecIntFromJSArray([...stopTokenIds]);
    const vocabulary = new binding.TokenizerInfo(texts, "BYTE_LEVEL", tokens.length, stops, false);
    texts.delete();
    stops.delete();
    this.#compilerAddress = new binding.GrammarCompiler(vocabulary, 1, false).$$.ptr;
    this.#baseMemory = xgrammar.memory.slice(0);
    this.#base = captureMemory(this.#baseMemory);
  }

  /** Compiles within the task's limits; never throws. */
  compile({ key, format, limits }: GrammarTask): GrammarOutcome {
    try {
      return this.#compile(key, withSchemas(format), limits);
    } catch (error) {
      return toOutcome(error, limits);
    }
  }

  #compile(key: string, format: unknown, limits: GrammarLimits): GrammarOutcome {
    const { numBytes } = this.#base;
    const xgrammar = new XGrammar(this.#code, { numBytes, maxBytes: limits.maxBytes });
    const { compiler, grammar: _ } = xgrammar.handles();
    restoreMemory(xgrammar.memory, this.#base);
    compiler.$$.ptr = this.#compilerAddress;
    const { $$ } = xgrammar.within(limits.deadlineMs, () => {
      const tag = { type: "structural_tag", format: withEbnf(format, xgrammar) };
      return compiler.CompileStructuralTag(JSON.stringify(tag));
    });
    // What the library passes over would not hold in the answer.
    const [warning] = xgrammar.warnings;
    if (warning !== undefined) return { type: "refused", message: warning };
    return { type: "compiled", grammar: this.#result(key, xgrammar, $$.ptr) };
  }

  #result(key: string, { memory }: XGrammar, address: number): CompiledGrammar {
    const changes = captureMemory(memory, this.#baseMemory);
    const shared = { code: this.#code, base: this.#base, vocabSize: this.#vocabSize };
    return { key, ...shared, changes, address };
  }
}

function toOutcome(error: unknown, { deadlineMs, maxBytes }: GrammarLimits): GrammarOutcome {
  if (error instanceof SchemaError) {
    return { type: "refused", message: `the schema has ${error.message}` };
  }
  if (error instanceof GrammarLimitError) {
    const limit = error.message === "time" ? `${deadlineMs / 1000} s` : `${maxBytes >> 20} MiB`;
    return { type: "limit", message: `compiling it takes more than ${limit}` };
  }
  return { type: "refused", message: error instanceof Error ? error.message : String(error) };
}

/** A schema's grammar in its place in a format. */
class SchemaNode {
  constructor(readonly grammar: SchemaGrammar) {}
}

/**
 * The format with the grammar of each schema in it.
 *
 * @throws {SchemaError} for a schema that no grammar holds to.
 */
function withSchemas(format: unknown): unknown {
  if (Array.isArray(format)) return format.map(withSchemas);
  if (typeof format !== "object" || format === null) return format;
  const { type, json_schema: schema } = format as { type?: unknown; json_schema?: unknown };
  if (type === "json_schema") return new SchemaNode(schemaGrammar(schema));
  return mapValues(format, withSchemas);
}

/** The same in the library's words. */
function withEbnf(format: unknown, xgrammar: XGrammar): unknown {
  if (format instanceof SchemaNode) {
    return { type: "grammar", grammar: toEbnf(format.grammar, xgrammar) };
  }
  if (Array.isArray(format)) return format.map((one) => withEbnf(one, xgrammar));
  if (typeof format !== "object" || format === null) return format;
  return mapValues(format, (value) => withEbnf(value, xgrammar));
}

function mapValues(object: object, change: (value: unknown) => unknown): object {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));
}

function toEbnf({ rules, patterns }: SchemaGrammar, { binding }: XGrammar): string {
  const lines = [...rules].map(([name, expression]) => `${name} ::= ${expression}`);
  const used = new Set(lines.join("\n").match(/\w+/g));
  for (const [name, pattern] of patterns) {
    if (!used.has(name)) continue;
    const tag = { type: "structural_tag", format: { type: "regex", pattern } };
    const grammar = binding.Grammar.FromStructuralTag(JSON.stringify(tag));
    lines.push(renameRules(grammar.ToString(), name));
  }
  return lines.join("\n");
}

/** A grammar whose rule `root` is called `name`, and whose others begin with it. */
function renameRules(ebnf: string, name: string): string {
  const parts = /"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|\{[^}]*\}|[A-Za-z_]\w*/g;
  return ebnf.replace(parts, (part) => {
    if (!/^[A-Za-z_]/.test(part)) return part;
    return part === "root" ? name : `${name}_${part}`;
  });
}

/** Bytes in the alphabet in which the library takes them. */
function lettersOf(bytes: Uint8Array): string {
  let letters = "";
  for (const byte of bytes) letters += BYTE_LEVEL_ALPHABET[byte];
  return letters;
}

function shared(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
  copy.set(bytes);
  // WebAssembly takes bytes of shared memory as well; the types do not say so.
  return copy as unknown as Uint8Array<ArrayBuffer>;
}
