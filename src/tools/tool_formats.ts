import type { ToolFormatName } from "../core/tool_format_names.ts";
import type { ToolDefinition, ToolParser } from "../core/tool_parser.ts";
import { CallParser, type CallSyntax } from "./call_parser.ts";
import { Balanced, UntilMark } from "./call_scanners.ts";
import { parseJsonCalls, parseMistralCalls } from "./json_calls.ts";
import { parsePythonCalls } from "./python_calls.ts";
import { parseGemmaCall, parseTaggedCall } from "./tagged_calls.ts";

/** A parser's syntax; those whose arguments have no types of their own read the tools' schemas. */
const SYNTAXES: Readonly<
  Record<ToolFormatName, (tools: readonly ToolDefinition[]) => CallSyntax>
> = {
  hermes: () => ({
    marks: ["<tool_call>"],
    scanner: () => new UntilMark("</tool_call>", '"'),
    parse: (body) => parseJsonCalls(without(body, "</tool_call>")),
  }),
  qwen3_xml: (tools) => ({
    marks: ["<tool_call>"],
    scanner: () => new UntilMark("</tool_call>", ""),
    parse: (body) => parseTaggedCall(without(body, "</tool_call>"), tools),
  }),
  llama3_json: () => ({
    marks: ["<|python_tag|>"],
    first: "{",
    callStart: /^\{\s*"name"\s*:/,
    separators: ";,",
    scanner: () => new Balanced('"'),
    parse: (body) => parseJsonCalls(body),
  }),
  pythonic: () => ({
    marks: [],
    noise: ["<|python_start|>", "<|python_end|>"],
    first: "[",
    callStart: /^\[\s*[A-Za-z_]\w*\(/,
    scanner: () => new Balanced("\"'"),
    parse: parsePythonCalls,
  }),
  mistral: () => ({
    marks: ["[TOOL_CALLS]"],
    scanner: () => new MistralScanner(),
    parse: parseMistralCalls,
  }),
  gemma: () => ({
    marks: ["<start_function_call>"],
    scanner: () => new UntilMark("<end_function_call>", ""),
    parse: (body) => parseGemmaCall(without(body, "<end_function_call>")),
  }),
  phi: () => ({
    marks: ["functools[", "<|tool_call|>"],
    noise: ["<|/tool_call|>"],
    scanner: (mark) => {
      const scanner = new Balanced('"');
      if (mark.endsWith("[")) scanner.push("[");
      return scanner;
    },
    parse: (body, mark) => parseJsonCalls(mark.endsWith("[") ? `[${body}` : body),
  }),
  granite: () => ({
    marks: ["<|tool_call|>", "<tool_call>"],
    noise: ["</tool_call>"],
    scanner: () => new Balanced('"'),
    parse: (body) => parseJsonCalls(body),
  }),
  lfm2: () => ({
    marks: ["<|tool_call_start|>"],
    noise: ["<|tool_call_end|>"],
    scanner: () => new Balanced("\"'"),
    parse: parsePythonCalls,
  }),
};

/** What a template has to say for a format; the first that fits is taken. */
const SIGNS: readonly (readonly [ToolFormatName, RegExp])[] = [
  ["qwen3_xml", /<function=/],
  ["lfm2", /<\|tool_call_start\|>|<\|tool_list_start\|>/],
  ["granite", /<\|tool_call\|>(?![\s\S]*<\|\/tool_call\|>)/],
  ["phi", /functools|<\|tool_call\|>/],
  ["mistral", /\[TOOL_CALLS\]/],
  ["gemma", /<start_function_call>/],
  ["hermes", /<tool_call>/],
  ["llama3_json", /<\|python_tag\|>|"parameters": dictionary|"parameters": /],
  ["pythonic", /<\|python_start\|>|func_name1\(/],
];

/** The format that a chat template asks for; undefined where it knows no tools. */
export function formatOfTemplate(template: string): ToolFormatName | undefined {
  if (!/\btools\b/.test(template)) return undefined;
  return SIGNS.find(([, sign]) => sign.test(template))?.[0];
}

/** A parser of one answer. */
export function createToolParser(
  format: ToolFormatName,
  tools: readonly ToolDefinition[],
): ToolParser {
  return new CallParser(SYNTAXES[format](tools));
}

/** As {@link Balanced}, past the brackets of `[ARGS]` behind a name. */
class MistralScanner extends Balanced {
  #start = "";
  #isInside = false;

  constructor() {
    super('"');
  }

  override push(character: string): boolean {
    if (this.#isInside) return super.push(character);
    this.#start += character;
    const mayBeArgs = /^\s*[\w.-]+\s*(\[A?R?G?S?\]?)?\s*$/.test(this.#start);
    if (mayBeArgs && !"{".includes(character)) return false;
    this.#isInside = true;
    return super.push(character);
  }
}

function without(body: string, end: string): string {
  return body.endsWith(end) ? body.slice(0, -end.length) : body;
}
