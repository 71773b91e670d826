import type { Constants } from "./kernel.ts";

/**
 * Expands a WGSL template: naga checks every dynamic index into private arrays, so register tiles
 * are written as loops here and unrolled into named scalars before the compiler sees them.
 *
 *     //# for t in 0..TILE        repeats its lines with t = 0, 1, ... TILE - 1
 *     //# if KV_DTYPE == "f16"    keeps its lines when the expression holds; `//# else` may follow
 *     //# end                     closes the innermost for or if
 *     acc${t}                     the value of an expression over constants and loop variables
 *
 * Expressions are JavaScript over numbers, booleans and strings. Templates are our own source
 * files, never input: each is parsed once, and kept.
 *
 * @throws {SyntaxError} naming the line for an unknown directive, name or missing end.
 */
export function expandWgsl(template: string, constants: Constants): string {
  const out: string[] = [];
  emit(PARSED.getOrInsertComputed(template, parse), { ...constants }, out);
  return out.join("\n");
}

type Value = number | boolean | string;
type Scope = Record<string, Value>;

/** A line in parts, or lines that a directive repeats or keeps. */
type Part =
  | { readonly kind: "line"; readonly parts: readonly (string | Expression)[] }
  | {
    readonly kind: "for";
    readonly name: string;
    readonly from: Expression;
    readonly to: Expression;
    readonly body: readonly Part[];
  }
  | {
    readonly kind: "if";
    readonly condition: Expression;
    readonly body: readonly Part[];
    readonly otherwise: readonly Part[];
  };

const PARSED = new Map<string, readonly Part[]>();

const DIRECTIVE = /^\s*\/\/#\s*(for|if|else|end)\b\s*(.*)$/;
const FOR = /^(\w+) in (.+)\.\.(.+)$/;
const SUBSTITUTION = /\$\{([^}]*)\}/;
const NAME = /[A-Za-z_]\w*/g;

/** By the names that are defined and the JavaScript: templates repeat each other's expressions. */
const COMPILED = new Map<string, (...values: readonly Value[]) => Value>();

/** JavaScript of a template, compiled for the names that are defined where it is evaluated. */
class Expression {
  readonly #text: string;
  readonly #line: number;
  readonly #names: readonly string[];

  constructor(text: string, line: number) {
    this.#text = text;
    this.#line = line;
    this.#names = [...new Set(text.match(NAME))];
  }

  evaluate(scope: Scope): Value {
    // Most are the name of a constant or of a loop's variable.
    if (this.#names[0] === this.#text && Object.hasOwn(scope, this.#text)) {
      return scope[this.#text]!;
    }
    const names = this.#names.filter((name) => Object.hasOwn(scope, name));
    try {
      const compute = COMPILED.getOrInsertComputed(
        `${names.join()}: ${this.#text}`,
        () => new Function(...names, `"use strict"; return (${this.#text});`) as () => Value,
      );
      return compute(...names.map((name) => scope[name]!));
    } catch (error) {
      throw new SyntaxError(`line ${this.#line}: ${this.#text}: ${(error as Error).message}`);
    }
  }
}

function parse(template: string): readonly Part[] {
  const lines = template.split("\n");
  const { parts, end } = parseBlock(lines, 0);
  if (end !== lines.length) throw new SyntaxError(`line ${end + 1}: "//# end" closes nothing`);
  return parts;
}

/** The parts from `start` to the block's `else` or `end`, and that line's index. */
function parseBlock(lines: readonly string[], start: number): { parts: Part[]; end: number } {
  const parts: Part[] = [];
  let at = start;
  while (at < lines.length) {
    const [, directive, rest] = DIRECTIVE.exec(lines[at]!) ?? [];
    if (directive === "else" || directive === "end") break;
    if (directive === undefined) {
      parts.push({ kind: "line", parts: partsOf(lines[at]!, at) });
      at++;
    } else {
      const { part, end } = (directive === "for" ? parseFor : parseIf)(lines, at, rest!);
      parts.push(part);
      at = end + 1;
    }
  }
  return { parts, end: at };
}

function parseFor(lines: readonly string[], at: number, header: string) {
  const [, name, from, to] = FOR.exec(header) ?? [];
  if (name === undefined) throw new SyntaxError(`line ${at + 1}: expected "for NAME in A..B"`);
  const { parts: body, end } = parseBlock(lines, at + 1);
  const bounds = { from: new Expression(from!, at + 1), to: new Expression(to!, at + 1) };
  const part: Part = { kind: "for", name, ...bounds, body };
  return { part, end: closing(lines, end, at) };
}

function parseIf(lines: readonly string[], at: number, text: string) {
  const { parts: body, end: last } = parseBlock(lines, at + 1);
  const { parts: otherwise, end } = /^\s*\/\/#\s*else\b/.test(lines[last] ?? "")
    ? parseBlock(lines, last + 1)
    : { parts: [], end: last };
  const part: Part = { kind: "if", condition: new Expression(text, at + 1), body, otherwise };
  return { part, end: closing(lines, end, at) };
}

function closing(lines: readonly string[], end: number, opened: number): number {
  if (/^\s*\/\/#\s*end\b/.test(lines[end] ?? "")) return end;
  throw new SyntaxError(`line ${opened + 1}: "//# end" is missing`);
}

/** Text and expressions of a line in turn. */
function partsOf(line: string, at: number): (string | Expression)[] {
  return line.split(SUBSTITUTION)
    .map((text, i) => i % 2 === 0 ? text : new Expression(text, at + 1));
}

function emit(parts: readonly Part[], scope: Scope, out: string[]): void {
  for (const part of parts) {
    if (part.kind === "line") out.push(lineOf(part.parts, scope));
    else if (part.kind === "if") {
      emit(part.condition.evaluate(scope) ? part.body : part.otherwise, scope, out);
    } else {
      const { name, from, to, body } = part;
      const last = Number(to.evaluate(scope));
      for (let i = Number(from.evaluate(scope)); i < last; i++) {
        emit(body, { ...scope, [name]: i }, out);
      }
    }
  }
}

function lineOf(parts: readonly (string | Expression)[], scope: Scope): string {
  let line = "";
  for (const part of parts) line += typeof part === "string" ? part : String(part.evaluate(scope));
  return line;
}
