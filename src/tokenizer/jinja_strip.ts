import type { Environment, Interpreter } from "@huggingface/jinja";

type Statement = Parameters<Interpreter["evaluate"]>[0];
type Value = ReturnType<Interpreter["evaluate"]>;
type Evaluate = (statement: Statement, environment: Environment) => Value;

/** Which ends a method of Python's `str` strips. */
const SIDES: ReadonlyMap<string, { readonly start: boolean; readonly end: boolean }> = new Map([
  ["strip", { start: true, end: true }],
  ["lstrip", { start: true, end: false }],
  ["rstrip", { start: false, end: true }],
]);

/**
 * Text without the characters of `chars` at the chosen ends, as Python's `str.strip(chars)`.
 */
export function stripCharacters(
  text: string,
  chars: string,
  sides: { readonly start: boolean; readonly end: boolean },
): string {
  const set = new Set(chars);
  const characters = [...text];
  let start = 0;
  let end = characters.length;
  while (sides.start && start < end && set.has(characters[start]!)) start++;
  while (sides.end && end > start && set.has(characters[end - 1]!)) end--;
  return characters.slice(start, end).join("");
}

/**
 * The method of a text for `text.strip`, `.lstrip` or `.rstrip`, with its argument. The library's
 * own drops the argument and strips all white space, so `lstrip("\n")`, which the templates of
 * Qwen3 and SmolLM3 use, would take the spaces of a message too.
 *
 * @returns undefined for every other expression; the library evaluates those.
 */
export function stripMethod(
  statement: Statement,
  environment: Environment,
  evaluate: Evaluate,
): Value | undefined {
  if (statement?.type !== "MemberExpression") return undefined;
  const { object, property, computed } = statement as unknown as {
    readonly object: Statement;
    readonly property: { readonly value?: unknown };
    readonly computed: boolean;
  };
  const sides = computed ? undefined : SIDES.get(String(property.value));
  if (sides === undefined) return undefined;
  const target = evaluate(object, environment);
  const method = target.builtins.get(String(property.value));
  if (typeof target.value !== "string" || method === undefined) return undefined;
  const text = target.value;
  const plain = method.value as (args: Value[], scope: Environment) => Value;
  // Each value has a table of methods of its own, so that this changes no other value.
  method.value = (args: Value[], scope: Environment) => {
    const chars = args[0]?.value;
    if (typeof chars !== "string") return plain(args, scope);
    return Reflect.construct(target.constructor, [stripCharacters(text, chars, sides)]);
  };
  return method;
}
