import type { ServedModel } from "../http/services.ts";

/** Variables about thinking that templates read. */
const THINKING_VARIABLES = ["enable_thinking", "thinking", "reasoning_effort"];
const THINKING_MARKS = { begin: "<think>", end: "</think>" };

/** How a model thinks, as far as its chat template tells: the marks, and what a request may set. */
export function thinkingOf(
  template: string,
): Pick<ServedModel, "thinking" | "templateVariables"> {
  const statements = (template.match(/\{[{%][\s\S]*?[%}]\}/g) ?? []).join("\n")
    .replace(/"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'/g, "");
  const templateVariables = THINKING_VARIABLES
    .filter((name) => new RegExp(`(?<![.\\w])${name}\\b`).test(statements));
  const thinks = template.includes(THINKING_MARKS.end);
  return { templateVariables, ...(thinks ? { thinking: THINKING_MARKS } : {}) };
}
