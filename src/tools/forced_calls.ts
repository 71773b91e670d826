import type { GrammarFormat, TagFormat } from "../core/grammar_format.ts";
import type { ToolDefinition, ToolParser, ToolPiece } from "../core/tool_parser.ts";
import { CallParser } from "./call_parser.ts";
import { Balanced } from "./call_scanners.ts";
import { parseJsonCalls } from "./json_calls.ts";

/** Calls that a grammar forces, and how they are read. */
export interface ForcedCalls {
  readonly format: GrammarFormat;
  readonly createParser: () => ToolParser;
}

/** The arguments of one tool, and nothing else. */
export function forcedCall(tool: ToolDefinition): ForcedCalls {
  return {
    format: { type: "json_schema", json_schema: argumentsOf(tool) },
    createParser: () => new ArgumentsParser(tool.name),
  };
}

/**
 * Calls of these tools with commas between them, at least one: JSON, whatever the model's own
 * notation is, since marks of its vocabulary are no text that a grammar could ask for.
 */
export function forcedCalls(
  tools: readonly ToolDefinition[],
  isParallel: boolean,
): ForcedCalls {
  const tags = tools.map((tool): TagFormat => ({
    type: "tag",
    begin: `{"name": ${JSON.stringify(tool.name)}, "parameters": `,
    content: { type: "json_schema", json_schema: argumentsOf(tool) },
    end: "}",
  }));
  const list = { at_least_one: true, stop_after_first: !isParallel };
  return {
    format: { type: "tags_with_separator", tags, separator: ", ", ...list },
    createParser: () =>
      new CallParser({
        marks: [],
        first: "{",
        separators: ",",
        isForced: true,
        scanner: () => new Balanced('"'),
        parse: parseJsonCalls,
      }),
  };
}

function argumentsOf({ parameters }: ToolDefinition): unknown {
  const isEmpty = typeof parameters !== "object" || parameters === null ||
    Object.keys(parameters).length === 0;
  return isEmpty ? { type: "object", properties: {}, additionalProperties: false } : parameters;
}

/** The whole text is the arguments of one call; also where it has been cut off. */
class ArgumentsParser implements ToolParser {
  readonly #name: string;
  #text = "";

  constructor(name: string) {
    this.#name = name;
  }

  push(text: string): readonly ToolPiece[] {
    this.#text += text;
    return [];
  }

  flush(): readonly ToolPiece[] {
    return [{ type: "call", name: this.#name, arguments: this.#text }];
  }
}
