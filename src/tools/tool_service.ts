import type { ToolFormatName } from "../core/tool_format_names.ts";
import type { ToolDefinition, ToolParser } from "../core/tool_parser.ts";
import { forcedCall, type ForcedCalls, forcedCalls } from "./forced_calls.ts";
import { createToolParser, formatOfTemplate } from "./tool_formats.ts";

/** How the served model calls tools; what `src/http` asks for. */
export interface ToolService {
  /** Name of the notation of its calls; absent where the chat template knows no tools. */
  readonly notation: ToolFormatName | undefined;
  createParser(tools: readonly ToolDefinition[]): ToolParser;
  force(
    tools: readonly ToolDefinition[],
    options: { readonly isNamed: boolean; readonly isParallel: boolean },
  ): ForcedCalls;
  createCallId(): string;
}

/** Letters and digits of a call's id: Mistral's templates take nine, others any text. */
const MISTRAL_ID_LENGTH = 9;
const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/**
 * The tools of a model by its chat template, or in the notation that an operator names.
 *
 * @param wanted `auto` goes by the template.
 */
export function createToolService(
  wanted: ToolFormatName | "auto",
  template: string | undefined,
): ToolService {
  const notation = wanted === "auto" ? formatOfTemplate(template ?? "") : wanted;
  return {
    notation,
    // Without a notation nothing is found; `src/http` refuses free calls then.
    createParser: (tools) => createToolParser(notation ?? "hermes", tools),
    force: (tools, { isNamed, isParallel }) =>
      isNamed ? forcedCall(tools[0]!) : forcedCalls(tools, isParallel),
    createCallId: () =>
      notation === "mistral" ? randomText(MISTRAL_ID_LENGTH) : `call_${randomText(24)}`,
  };
}

function randomText(length: number): string {
  return Array.from(
    crypto.getRandomValues(new Uint8Array(length)),
    (byte) => LETTERS[byte % LETTERS.length],
  ).join("");
}
