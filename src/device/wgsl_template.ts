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
 * files, never input.
 *
 * @throws {SyntaxError} naming the line for an unknown directive, name or missing end.
 */
export function expandWgsl(template: string, constants: Constants): string {
  const lines = template.split("\n");
  const out: string[] = [];
  const end = expandLines(lines, 0, { ...constants }, out);
  if (end !== lines.length) throw new SyntaxError(`line ${end + 1}: "//# end" closes nothing`);
  return out.join("\n");
}

type Scope = Record<string, number | boolean | string>;

const DIRECTIVE = /^\s*\/\/#\s*(for|if|else|end)\b\s*(.*)$/;
const FOR = /^(\w+) in (.+)\.\.(.+)$/;
const SUBSTITUTION = /\$\{([^}]*)\}/g;

/** Emits lines from `start` until the block's `else` or `end`; returns that line's index. */
function expandLines(lines: string[], start: number, scope: Scope, out: string[] | null): number {
  let at = start;
  while (at < lines.length) {
    const line = lines[at]!;
    const [, directive, rest] = DIRECTIVE.exec(line) ?? [];
    if (directive === "else" || directive === "end") return at;
    if (directive === "for") at = expandFor(lines, at, rest!, scope, out);
    else if (directive === "if") at = expandIf(lines, at, rest!, scope, out);
    else {
      out?.push(line.replace(SUBSTITUTION, (_, e: string) => String(evaluate(e, scope, at))));
      at++;
    }
  }
  return at;
}

function expandFor(
  lines: string[],
  at: number,
  header: string,
  scope: Scope,
  out: string[] | null,
): number {
  const [, name, from, to] = FOR.exec(header) ?? [];
  if (name === undefined) throw new SyntaxError(`line ${at + 1}: expected "for NAME in A..B"`);
  const end = closing(lines, expandLines(lines, at + 1, scope, null), at);
  if (out !== null) {
    const last = Number(evaluate(to!, scope, at));
    for (let i = Number(evaluate(from!, scope, at)); i < last; i++) {
      expandLines(lines, at + 1, { ...scope, [name]: i }, out);
    }
  }
  return end + 1;
}

function expandIf(
  lines: string[],
  at: number,
  condition: string,
  scope: Scope,
  out: string[] | null,
): number {
  const holds = out !== null && Boolean(evaluate(condition, scope, at));
  let end = expandLines(lines, at + 1, scope, holds ? out : null);
  if (/^\s*\/\/#\s*else\b/.test(lines[end] ?? "")) {
    end = expandLines(lines, end + 1, scope, holds ? null : out);
  }
  return closing(lines, end, at) + 1;
}

function closing(lines: string[], end: number, opened: number): number {
  if (/^\s*\/\/#\s*end\b/.test(lines[end] ?? "")) return end;
  throw new SyntaxError(`line ${opened + 1}: "//# end" is missing`);
}

function evaluate(expression: string, scope: Scope, at: number): number | boolean | string {
  try {
    const names = Object.keys(scope);
    return new Function(...names, `"use strict"; return (${expression});`)(
      ...names.map((name) => scope[name]),
    );
  } catch (error) {
    throw new SyntaxError(`line ${at + 1}: ${expression}: ${(error as Error).message}`);
  }
}
