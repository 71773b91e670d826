import type { ToolDefinition } from "../core/tool_parser.ts";
import type { ParsedCall } from "./call_parser.ts";
import { parseJson } from "./json_calls.ts";

/**
 * Qwen3-Coder's call, whose parameters are texts between tags: each becomes what the tool's schema
 * says it is, and stays a text where that says so or nothing else fits.
 *
 * @param text between `<tool_call>` and `</tool_call>`, which it may have at its end.
 */
export function parseTaggedCall(
  text: string,
  tools: readonly ToolDefinition[],
): readonly ParsedCall[] | undefined {
  const [, name, inner] = /<function=([^>\s]+)>(.*?)(?:<\/function>|$)/s.exec(text) ?? [];
  if (name === undefined) return undefined;
  const tool = tools.find((one) => one.name === name);
  const parameters = /<parameter=([^>]+)>(.*?)(?:<\/parameter>|(?=<parameter=)|$)/gs;
  const pairs = [...inner!.matchAll(parameters)].map(([, key, value]) => {
    const plain = value!.replace(/^\n/, "").replace(/\n$/, "");
    return [key!.trim(), isText(tool, key!.trim()) ? plain : parseJson(plain) ?? plain] as const;
  });
  return [{ name, arguments: Object.fromEntries(pairs) }];
}

function isText(tool: ToolDefinition | undefined, name: string): boolean {
  const { properties } = (tool?.parameters ?? {}) as { properties?: Record<string, unknown> };
  const schema = properties?.[name] as { type?: unknown } | undefined;
  return schema?.type === "string";
}

const QUOTE = "<escape>";

/** Gemma's call, `call:name{key:<escape>text<escape>,other:1}`; undefined for another text. */
export function parseGemmaCall(text: string): readonly ParsedCall[] | undefined {
  // Its own quotes hide anything, so what they enclose becomes JSON first.
  const parts = text.split(QUOTE);
  if (parts.length % 2 === 0) return undefined;
  const json = parts.map((part, i) => i % 2 === 1 ? JSON.stringify(part) : quoteKeys(part)).join(
    "",
  );
  const [, name, object] = /^\s*call:([\w.-]+)(\{.*\})\s*$/s.exec(json) ?? [];
  const value = name === undefined ? undefined : parseJson(object!);
  return typeof value === "object" && value !== null
    ? [{ name: name!, arguments: value }]
    : undefined;
}

/** Keys with quotes around them, as JSON has them. */
function quoteKeys(part: string): string {
  return part.replace(/([{,]\s*)([\w.-]+)\s*:/g, '$1"$2":');
}
