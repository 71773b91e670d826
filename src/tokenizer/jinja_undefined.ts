import type { Environment, Interpreter } from "@huggingface/jinja";

type Statement = Parameters<Interpreter["evaluate"]>[0];
type Value = ReturnType<Interpreter["evaluate"]>;
type Evaluate = (statement: Statement, environment: Environment) => Value;

/** Filters that Jinja2 applies to the text of their operand, which of an undefined one is empty. */
const TEXT_FILTERS: ReadonlySet<string> = new Set([
  ...["trim", "lower", "upper", "capitalize", "title"],
]);

/**
 * The empty text for `name|trim` and the like of an undefined name or member, as Jinja2 has it; the
 * library's own filters refuse it, so that the tool template of Hermes 3 would fail on a parameter
 * without a description.
 *
 * @returns undefined for every other expression; the library evaluates those.
 */
export function textOfUndefined(
  statement: Statement,
  environment: Environment,
  evaluate: Evaluate,
): Value | undefined {
  if (statement?.type !== "FilterExpression") return undefined;
  const { operand, filter } = statement as unknown as {
    readonly operand: Statement;
    readonly filter: { readonly value?: unknown };
  };
  // Of a name or a member alone, which cost little to look up twice.
  const isName = operand?.type === "Identifier" || operand?.type === "MemberExpression";
  if (!isName || !TEXT_FILTERS.has(String(filter.value))) return undefined;
  if (evaluate(operand, environment).type !== "UndefinedValue") return undefined;
  return evaluate({ type: "StringLiteral", value: "" } as unknown as Statement, environment);
}
